"""Registered targets: those that an operator offers by name to requests over the network."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leanfront.core.targets import check_reference
from leanfront.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEYS = ("target", "description")
_FORM = """[targets]
mine = "path/to/file.py:function"
other = {target = "digits?seed=1", description = "one line"}"""


@dataclass(frozen=True)
class Registered:
    """A target registered under a name.

    Args:
        name: at most 64 letters, digits, ``.``, ``_`` and ``-``.
        target: reference, as for `leanfront.core.targets.resolve`.
        description: one line that helps to choose a target.

    Raises:
        UsageError: an invalid name or reference.
    """

    name: str
    target: str
    description: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise UsageError(
                f"a target's name has 1 to 64 letters, digits, '.', '_' or '-' and starts with a letter or digit, "
                f"not {self.name!r}"
            )
        for key in _KEYS:
            if not isinstance(getattr(self, key), str):
                raise UsageError(f"target '{self.name}': {key} is text, not {getattr(self, key)!r}")
        if not self.description.isprintable():
            raise UsageError(f"target '{self.name}': the description is one line of text")
        check_reference(self.target)


@dataclass(frozen=True)
class Registry:
    """Registered targets by name. Built-in targets must be registered too: an empty registry offers nothing."""

    targets: Mapping[str, Registered] = field(default_factory=dict)

    @classmethod
    def of(cls, assignments: Sequence[str] = (), file: Path | None = None) -> Registry:
        """Create a registry from command-line options.

        No target is loaded: a worker finds out whether a reference resolves when it takes a search on it.

        Args:
            assignments: texts of the form ``NAME=TARGET``.
            file: TOML file with a table ``targets`` from names to references, or to tables with ``target`` and
                ``description``.

        Raises:
            UsageError: a repeated name, an invalid name or reference, or a file that cannot be read.
        """
        found: dict[str, Registered] = {}
        for target in (*_of_file(file), *map(_assigned, assignments)):
            if target.name in found:
                raise UsageError(f"the target '{target.name}' is registered twice; give each its own name")
            found[target.name] = target
        return cls(found)

    def __contains__(self, name: object) -> bool:
        return name in self.targets

    def __iter__(self) -> Iterator[Registered]:
        return iter(self.targets.values())

    def __len__(self) -> int:
        return len(self.targets)

    def reference(self, name: str) -> str:
        """Return the reference registered under a name.

        Raises:
            UsageError: an unknown name; the message lists the known ones.
        """
        target = self.targets.get(name)
        if target is None:
            known = f"registered are {', '.join(self.targets)}" if self.targets else "none is registered"
            raise UsageError(f"no target is registered as {name!r}; {known}")
        return target.target


def _assigned(text: str) -> Registered:
    name, equals, target = text.partition("=")
    if not equals or not target.strip():
        raise UsageError(f"--target takes NAME=TARGET, such as --target digits=digits, not '{text}'")
    return Registered(name.strip(), target.strip())


def _of_file(file: Path | None) -> Iterator[Registered]:
    if file is None:
        return
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the targets in {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}; write it like\n{_FORM}") from None
    targets = table.pop("targets", None)
    if table or not isinstance(targets, dict):
        wrong = f"it has {', '.join(table)}" if table else "it has none"
        raise UsageError(f"{file} holds one table 'targets', but {wrong}; write it like\n{_FORM}")
    for name, entry in targets.items():
        fields = {"target": entry} if isinstance(entry, str) else entry
        if not isinstance(fields, dict) or "target" not in fields or set(fields) - set(_KEYS):
            raise UsageError(f"{file}: target '{name}' cannot be read; write it like\n{_FORM}")
        yield Registered(name, **fields)
