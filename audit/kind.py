"""Kinds of audits: their specification, with the functions that compute and draw them."""

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
    """Findings of an audit, JSON.

    Args:
        document: findings about all versions together.
        versions: findings about each version, by its name.
    """

    document: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of audit.

    Its functions may be `leanfront.deferred.Deferred`, so that their imports wait until they are called.

    Args:
        name: name in options and commands.
        title: title for readers.
        run: function that runs the audit.
        metrics: measurements that an audited candidate gets.
        source: literature or origin, one line.
        heavy: keys of a version's findings that only the candidate's own document holds, not the search's.
        shared: keys of the findings about all versions that only the search's document holds, not the candidates'.
        check: function that refuses, before anything is computed, models that cannot be audited; it raises
            `UsageError` or `TargetError`.
        alone: whether the audit has findings without any version.
        needs: attributes of a target that must not be None.
        reading: how to read the findings, in a sentence or two.
        tables: function that makes tables of a document with ``versions``; by default the plain values of its
            versions are shown.
        figures: function that makes drawings and galleries of a document with ``versions``.
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
    """Return the findings about a version, with its name and candidate id."""
    return {"version": version.name, "candidate": version.candidate, **found}
