"""Resolution of target references such as ``digits`` or ``file.py:function``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from leanfront.core.targets import user_file
from leanfront.core.targets.builtin import BUILTINS, Builtin
from leanfront.errors import UsageError

if TYPE_CHECKING:
    from leanfront.core.targets.target import Target

_FILE = re.compile(r"^(?P<path>.+\.py)(?::(?P<function>[^:?]*))?$")


def builtin_targets() -> list[tuple[str, str]]:
    """Return (name, one-line description) of every built-in target."""
    return [(builtin.name, builtin.description) for builtin in BUILTINS.values()]


def resolve(reference: str) -> Target:
    """Return the target for a reference.

    Args:
        reference: a built-in name with options (``digits``, ``cifar10-resnet20?data=DIR&weights=FILE``,
            ``torchvision:resnet18?data=DIR``), or ``path/to/file.py:function``, whose options become keyword
            arguments. Values are percent-decoded: write ``%26`` for ``&``.

    Returns:
        The target, with `Target.reference` set to the reference as typed.

    Raises:
        UsageError: an unknown built-in target or option.
        TargetError: the target cannot be used; the message says why.
    """
    name, options, file = _read(reference)
    if file is not None:
        path, function = file["path"], file["function"]
        if not function:
            names = user_file.functions(user_file.load(path))
            listed = f"; it has {', '.join(names)}" if names else ""
            raise UsageError(
                f"'{reference}' names no function: write {path}:{(names or ['target'])[0]}{listed}"
            )
        return user_file.build(path, function, options).referred(reference.strip())
    builtin, model = _builtin(name, options)
    return builtin.build(model, options).referred(reference.strip())


def file_of(reference: str) -> str | None:
    """Return the path of the file that a reference names, or None for a built-in target."""
    _, _, file = _read(reference)
    return None if file is None else file["path"]


def check_reference(reference: str) -> None:
    """Check the form of a reference, without reading any file.

    Raises:
        UsageError: an unknown built-in target or option, or a file without a function.
    """
    name, options, file = _read(reference)
    if file is None:
        _builtin(name, options)
    elif not file["function"]:
        raise UsageError(f"'{reference}' names no function: write {file['path']}:function")


def _read(reference: str) -> tuple[str, dict[str, str], re.Match[str] | None]:
    """Return the name, the options, and for a file a match of path and function."""
    name, _, query = reference.strip().partition("?")
    return name, _options(reference, query), _FILE.match(unquote(name))


def _builtin(name: str, options: Mapping[str, str]) -> tuple[Builtin, str]:
    """Return the built-in target of a name, and the model after the colon, or else the name."""
    head, colon, model = name.partition(":")
    builtin = BUILTINS.get(f"{head}:<model>" if colon else name)
    if builtin is None:
        raise _unknown(name)
    unknown = sorted(set(options) - set(builtin.options))
    if unknown:
        raise UsageError(
            f"{name}: unknown option '{unknown[0]}'; known: "
            + "; ".join(f"{option} ({meaning})" for option, meaning in builtin.options.items())
        )
    return builtin, model if colon else name


def _options(reference: str, query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in query.split("&") if query else ():
        key, equals, value = item.partition("=")
        # Not parse_qsl, which turns plus signs in file names into spaces.
        key, value = unquote(key), unquote(value)
        if not equals or not key:
            raise UsageError(f"'{reference}': '{item}' is no option; write key=value, several joined with &")
        if key in options:
            raise UsageError(f"'{reference}': the option '{key}' is given twice")
        options[key] = value
    return options


def _unknown(name: str) -> UsageError:
    close = difflib.get_close_matches(name, BUILTINS, n=2)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"there is no target '{name}'; {hint}built-in: {', '.join(BUILTINS)}; your own: path/to/file.py:function"
    )
