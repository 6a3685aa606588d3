"""Targets defined by a function in a user's Python file."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from leanfront.errors import TargetError, UsageError

if TYPE_CHECKING:
    from leanfront.core.targets.random_states import RandomStates
    from leanfront.core.targets.target import Target

_loaded: dict[str, tuple[int, int]] = {}
"""Module name -> (modification time in ns, size) of the file it was loaded from."""
_states: dict[str, RandomStates] = {}
"""Module name -> states of the random generators after it was loaded. Its functions start from them, so that a target
that is made again in this process is the one that it is in a process of its own."""


class _Beside(MetaPathFinder):
    """Import finder for modules in the folder of a user's file. It comes last, so it cannot shadow other modules.

    It searches one folder at a time. When the folder changes, the modules of the old folder are set aside until it
    returns, so that two targets can each have their own ``search.py`` or ``model.py``.
    """

    def __init__(self) -> None:
        self._folder: str | None = None
        self._came: dict[str, set[str]] = {}
        self._aside: dict[str, dict[str, ModuleType]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or self._folder is None:
            return None
        spec = PathFinder.find_spec(fullname, [self._folder], target)
        if spec is not None:
            self._came.setdefault(self._folder, set()).add(fullname)
        return spec

    def enter(self, folder: str) -> None:
        """Search this folder, as the last finder."""
        if sys.meta_path[-1:] != [self]:
            sys.meta_path[:] = [*(finder for finder in sys.meta_path if finder is not self), self]
        if folder == self._folder:
            return
        if self._folder is not None:
            self._aside[self._folder] = {name: sys.modules.pop(name) for name in self.own(self._folder)}
        self._folder = folder
        sys.modules.update(self._aside.pop(folder, {}))

    def own(self, folder: str) -> list[str]:
        """Return the names of the loaded modules that came from this folder."""
        tops = self._came.get(folder, set())
        return [name for name in sys.modules if name.partition(".")[0] in tops]


_BESIDE = _Beside()


def build(path: str, function: str, options: Mapping[str, str]) -> Target:
    """Call a function of a file and return its target.

    The file is executed once per process and version, as a module with a private name, so that its objects can be
    pickled. It can import files in its folder; see `_Beside`.

    Args:
        path: path of the file.
        function: name of the function.
        options: keyword arguments, as strings.

    Raises:
        TargetError: the file or function does not exist or raises, or the function does not return a target.
        UsageError: the function does not accept an option.
    """
    # Imported late, since references are also parsed without creating a target.
    from leanfront.core.targets.random_states import kept_states
    from leanfront.core.targets.target import Target

    with kept_states():
        return _called(path, function, options, Target)


def _called(path: str, function: str, options: Mapping[str, str], kind: type[Target]) -> Target:
    module = load(path)
    found = getattr(module, function, None)
    if not callable(found):
        names = functions(module)
        close = difflib.get_close_matches(function, names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise TargetError(
            f"'{path}' has no function '{function}'; {hint}it has "
            + (", ".join(names) if names else "none: write def target() -> leanfront.Target")
        )
    _check_options(f"{path}:{function}", found, options)
    if module.__name__ in _states:
        _states[module.__name__].restore()
    try:
        target = found(**options)
    except (Exception, SystemExit) as error:
        raise TargetError(f"{path}:{function} failed: {_where(path, error)}") from error
    if not isinstance(target, kind):
        raise TargetError(
            f"{path}:{function} returned a {type(target).__name__}, not a leanfront.Target; end it with "
            "return leanfront.Target(model=..., example_input=..., validation=...)"
        )
    return target


def load(path: str) -> ModuleType:
    """Load a file as a module; the same module is returned while the file is unchanged.

    Raises:
        TargetError: the file does not exist, or it raises.
    """
    from leanfront.core.targets.random_states import RandomStates

    file = Path(path).expanduser().resolve()
    if not file.is_file():
        beside = sorted(entry.name for entry in file.parent.glob("*.py")) if file.parent.is_dir() else []
        close = difflib.get_close_matches(file.name, beside, n=1)
        hint = f"; did you mean '{Path(path).with_name(close[0])}'?" if close else ""
        raise TargetError(f"there is no file '{path}'{hint}")
    _BESIDE.enter(str(file.parent))
    name = _module_name(file)
    status = file.stat()
    version = (status.st_mtime_ns, status.st_size)
    if name in sys.modules and _loaded.get(name) == version:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise TargetError(f"'{path}' cannot be loaded as Python; does its name end in .py?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise TargetError(f"'{path}' failed when it was loaded: {_where(path, error)}") from error
    _loaded[name] = version
    _states[name] = RandomStates.now()
    return module


@contextmanager
def anew(path: str, *, reload: bool = True) -> Iterator[None]:
    """Make targets of a file as another process would; afterwards everything is as before.

    Args:
        path: path of the file.
        reload: execute the file and the modules beside it again. Otherwise its functions only start from the present
            states of the random generators.
    """
    file = Path(path).expanduser().resolve()
    name, folder = _module_name(file), str(file.parent)
    states, version = _states.pop(name, None), _loaded.get(name)
    aside: dict[str, ModuleType] = {}
    if reload:
        _BESIDE.enter(folder)
        for each in [name, *_BESIDE.own(folder)]:
            if each in sys.modules:
                aside[each] = sys.modules.pop(each)
    try:
        yield
    finally:
        if reload:
            _BESIDE.enter(folder)
            for each in [name, *_BESIDE.own(folder)]:
                sys.modules.pop(each, None)
            sys.modules.update(aside)
        for table, value in ((_loaded, version), (_states, states)):
            _put(table, name, value)


def _put(table: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value


def _module_name(file: Path) -> str:
    return f"_leanfront_target_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"


def functions(module: ModuleType) -> list[str]:
    """Return the names of the public functions defined in the module, sorted."""
    return sorted(
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    )


def _check_options(reference: str, function: Any, options: Mapping[str, str]) -> None:
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = sorted(set(options) - {p.name for p in named})
    if unknown and not anything:
        takes = ", ".join(p.name for p in named) or "none"
        raise UsageError(f"{reference}: unknown option '{unknown[0]}'; the function takes {takes}")
    missing = [p.name for p in named if p.default is p.empty and p.name not in options]
    if missing:
        raise UsageError(
            f"{reference}: the function needs {', '.join(missing)}; give it a default or write "
            f"'{reference}?{missing[0]}=...'"
        )


def _where(path: str, error: BaseException) -> str:
    """Format an error as ``file.py:12: ValueError: ...``, with the last line of the user's file in the traceback."""
    own = Path(path).expanduser().resolve()
    said = str(error)
    # The message of a TargetError needs no type in front.
    text = said if isinstance(error, TargetError) else f"{type(error).__name__}: {said}".removesuffix(": ")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve() == own:
            return f"{frame.filename}:{frame.lineno}: {text}"
    return text
