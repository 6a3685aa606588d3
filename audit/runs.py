"""Runs of audits of a search's candidates, one kind after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from leanfront.core.audit.kind import Findings, Kind
from leanfront.core.audit.kinds import KINDS
from leanfront.core.storage import AuditRecord
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from leanfront.core.audit.auditor import Auditor


def kinds_of(names: Sequence[str]) -> tuple[Kind, ...]:
    """Return the kinds of some names, each once.

    Raises:
        UsageError: a name is unknown, or no name is given.
    """
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        said = f"unknown kind of audit: {', '.join(unknown)}" if unknown else "no kind of audit is named"
        raise UsageError(f"{said}; known: {', '.join(KINDS)}")
    return tuple(KINDS[name] for name in dict.fromkeys(names))


def run(auditor: Auditor, kinds: Sequence[Kind], search: str, release: str) -> Iterator[list[AuditRecord]]:
    """Run audits, and yield the records to store: one for every candidate, and one for the search.

    Args:
        auditor: auditor of the models.
        kinds: kinds to run.
        search: name of the search.
        release: release of leanfront that runs the audit.

    Yields:
        The records of one kind.

    Raises:
        StoppedError: the auditor was asked to stop; computed answers are kept, and the next run continues there.
        UsageError: a kind cannot audit these models.
    """
    needy = [kind.name for kind in kinds if not kind.alone]
    if needy and not auditor.versions:
        raise UsageError(f"nothing to audit by {', '.join(needy)}: name candidates, or levels of compression")
    for kind in kinds:
        kind.check(auditor)
    for kind in kinds:
        yield records(kind, kind.run(auditor), auditor, search, release)


def records(kind: Kind, found: Findings, auditor: Auditor, search: str, release: str) -> list[AuditRecord]:
    """Turn the findings of a kind into the records to store."""
    parameters = auditor.options.to_json()
    about = {key: value for key, value in found.document.items() if key not in kind.shared}
    own = [
        AuditRecord(search, kind.name, {**about, **part}, int(part["candidate"]), parameters, release)
        for part in found.versions.values()
        if part["candidate"] is not None
    ]
    versions = [
        {key: value for key, value in part.items() if part["candidate"] is None or key not in kind.heavy}
        for part in found.versions.values()
    ]
    whole = {**found.document, "versions": versions}
    return [*own, AuditRecord(search, kind.name, whole, None, parameters, release)]
