"""Kinds of audits: what each finds, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
    """

    name: str
    title: str
    run: Callable[[Auditor], Findings]
    metrics: tuple[str, ...]
    source: str
    heavy: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    check: Callable[[Auditor], None] = lambda auditor: None
    alone: bool = False


KINDS: dict[str, Kind] = {}
"""Kinds of audits by name."""


def register(kind: Kind) -> Kind:
    """Add a kind to the registry; its name must be free."""
    if kind.name in KINDS:
        raise ValueError(f"audit kind '{kind.name}' is registered already")
    KINDS[kind.name] = kind
    return kind


def entry(version: Version, found: Mapping[str, Any]) -> dict[str, Any]:
    """What was found of a version, with what it is."""
    return {"version": version.name, "candidate": version.candidate, **found}
