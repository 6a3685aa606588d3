"""What a model computes besides its weights: the types, attributes and source code of its modules."""

from __future__ import annotations

import hashlib
import inspect
import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType

import torch
from torch import nn

import leanfront.core.compressors.structure as own_room
import leanfront.core.targets.attention as attention
from leanfront.core.compressors.structure.library import torch_pruning

SIMPLE = (bool, int, float, str, type(None))


def code_of(model: nn.Module) -> str:
    """Return a text that is equal only for models with the same modules, attributes and source files.

    A function that a module's file imports from another file is not covered. The libraries that derive structures
    and this package's own rules are.
    """
    lines = [torch.__version__, torch_pruning.__version__, _rules()]
    for name, module in model.named_modules():
        lines.append(f"{name} {type(module).__module__}.{type(module).__qualname__}")
        lines += [f" {key}={value!r}" for key, value in sorted(vars(module).items()) if _simple(value)]
        lines += [
            f" {key}()={_described(value)}" for key, value in sorted(vars(module).items()) if callable(value)
        ]
        for table in (module._forward_hooks, module._forward_pre_hooks):
            lines += [f" hook={_described(hook)}" for hook in table.values()]
        lines += [f" {key}{tuple(t.shape)}{t.dtype}" for key, t in module.named_parameters(recurse=False)]
        lines += [f" {key}{tuple(t.shape)}{t.dtype}" for key, t in module.named_buffers(recurse=False)]
    kinds = {kind for module in model.modules() for kind in type(module).__mro__}
    lines += sorted(
        _described(kind) for kind in kinds if not kind.__module__.startswith(("torch.", "builtins"))
    )
    return "\n".join(lines)


def _simple(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_simple(each) for each in value)
    return isinstance(value, SIMPLE)


def _described(subject: object) -> str:
    """Return the name of a class or function and a digest of its code."""
    kind = subject if isinstance(subject, type) or inspect.isroutine(subject) else type(subject)
    name = f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', kind)}"
    file = getattr(sys.modules.get(str(getattr(kind, "__module__", ""))), "__file__", None)
    if file is not None:
        return f"{name} {_digest(file, *_stamp(file))}"
    # Typed into a notebook or a console.
    functions = vars(kind).values() if isinstance(kind, type) else (kind,)
    codes = [code for each in functions if isinstance(code := getattr(each, "__code__", None), CodeType)]
    return f"{name} {hashlib.sha256(repr([_compiled(code) for code in codes]).encode()).hexdigest()}"


def _compiled(code: CodeType) -> tuple[object, ...]:
    constants = tuple(
        _compiled(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts
    )
    return (code.co_code.hex(), code.co_names, constants)


def _stamp(file: str) -> tuple[int, int]:
    try:
        status = Path(file).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=4096)
def _digest(file: str, changed: int, size: int) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


@lru_cache(maxsize=1)
def _rules() -> str:
    """Return a digest of the modules that derive structures."""
    assert own_room.__file__ is not None
    assert attention.__file__ is not None
    files = [*sorted(Path(own_room.__file__).parent.glob("*.py")), Path(attention.__file__)]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
