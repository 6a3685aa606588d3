"""A kind of audit: what it is, what it needs, and where what computes and draws it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from leanfront.core.audit.document import Document
from leanfront.core.audit.pieces import Piece
from leanfront.core.audit.table import Table

if TYPE_CHECKING:
    from leanfront.core.audit.auditor import Auditor
    from leanfront.core.audit.versions import Version


@dataclass(frozen=True)
class Findings:
    """What an audit found, JSON.

    Args:
        document: about all versions together.
        versions: about each, by its name.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of audit.

    What it computes with is imported when it computes: its functions may be `leanfront.deferred.Deferred` ones.

    Args:
        name: as typed.
        title: for people.
        run: does it.
        metrics: measurements that a candidate has when it was audited so.
        source: where it comes from, one line.
        heavy: keys of a version's findings that a search's own document leaves out of its candidates, as theirs has
            them.
        shared: keys of the document about all versions that the candidates' own leave out: the search's has them.
        check: refuses, before anything is computed, what it cannot audit. Raises `UsageError` or `TargetError`.
        alone: whether it has something to say where no version is named.
        needs: attributes of a target that it cannot do without, and that may be None.
        reading: how to read what it found, a sentence or two.
        tables: of its document with ``versions``; without them the plain values of its versions are shown.
        figures: likewise, its drawings and galleries.
    """

    name: str
    title: str
    run: Callable[[Auditor], Findings]
    metrics: tuple[str, ...] = ()
    source: str = ""
    heavy: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    check: Callable[[Auditor], None] = lambda auditor: None
    alone: bool = False
    needs: tuple[str, ...] = ()
    reading: str = ""
    tables: Callable[[Document], list[Table]] | None = None
    figures: Callable[[Document], list[Piece]] | None = None


def entry(version: Version, found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found of a version, with what it is."""
    return {"version": version.name, "candidate": version.candidate, **found}
