"""The repository keeps the design's rules: order of rooms, names, file lengths, no trace of a machine."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ("targets", "compressors", "cost_models", "objectives", "search", "storage", "audit")
"""Folders at the top, installed as ``leanfront.core.<room>``."""
GROUND = ("errors", "options", "version", "threads", "deferred", "files")
"""Modules of ``leanfront`` that import nothing of ours but each other: every room may use them."""
ORDER = (*CORE, "locations", "actions", "reports")
"""A room may import those before it."""
FACES = ("local", "remote", "worker", "http", "cli")
"""They come last and know nothing of each other, but for the command line, which starts any of them."""
SQL = ("sqlalchemy", "alembic", "psycopg", "sqlite3", "leanfront.core.storage.tables")
"""What speaks SQL, and the tables it is about."""
SUITES = "testing"
"""Test suites for implementations of users: nothing of ours imports them, and they know the rooms of `CORE` alone."""
WITHIN = ("structure", "statistics", "pruning", "quantisation", "refit", "training", "artifact", "exchange")
"""The order of the rooms in `compressors`."""
ALARM = 800
"""Lines of a file at which to ask whether it is still one noun."""
SKIPPED = {".venv", "build", "dist", "demo", "leanfront-artifacts", "__pycache__"}


def files() -> list[Path]:
    """Files of the repository: tracked, or new and not ignored. Without git, all but what tools make."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        found = [
            path
            for path in ROOT.rglob("*")
            if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
            and ".egg-info" not in str(path)
        ]
    # Links into the rooms are not files of their own.
    return sorted({path for path in found if path.is_file() and not path.is_symlink()})


FILES = files()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    dotted = ".".join(("leanfront", "core", *parts) if parts[0] in CORE else parts)
    return dotted.removesuffix(".__init__")


MODULES = {
    module_of(path): path
    for path in FILES
    if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in (*CORE, "leanfront")
}


def lazy_names(module: str) -> dict[str, str]:
    """What a lazy face gives: name -> the module it comes from."""
    stub = MODULES[module].with_suffix(".pyi")
    if not stub.is_file():
        return {}
    found = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname is None, f"{name_of(stub)}: lazy-loader gives names as they are"
                found[alias.name] = f"{module}.{node.module or alias.name}"
    return found


FACE_NAMES = {module: lazy_names(module) for module in MODULES}


TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def imported(tree: ast.AST, modules: Mapping[str, Any] = MODULES) -> Iterator[str]:
    """Our modules that a text imports: also in functions, for type checkers alone, and through lazy faces."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            for alias in node.names:
                whole, base = f"{node.module}.{alias.name}", str(node.module)
                if whole in modules:
                    yield whole
                elif base in modules:
                    yield FACE_NAMES.get(base, {}).get(alias.name, base)


GRAPH = {module: set(imported(tree)) - {module} for module, tree in TREES.items()}


def every_import(module: str) -> Iterator[str]:
    """All that a module imports, ours or not, by the names that are written: also in functions."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def listed(wrong: list[str]) -> str:
    """What is wrong, one a line."""
    return "\n" + "\n".join(wrong)


def room_of(module: str) -> str:
    """``leanfront.core.search.pool`` -> ``search``; ``leanfront.cli.select`` -> ``cli``; ``leanfront`` -> ``""``."""
    parts = module.split(".")[1:]
    return (parts[1:] or [""])[0] if parts[:1] == ["core"] else (parts or [""])[0]


def test_a_room_imports_only_rooms_before_it() -> None:
    found = {module: _too_far(module) for module in MODULES}
    wrong = [f"{module} imports {others}" for module, others in found.items() if others]
    assert not wrong, f"{listed(wrong)}\nthe order of the rooms is {ORDER}, then {FACES}"


def _too_far(module: str) -> list[str]:
    """Return the modules that a module imports and its room may not."""
    room = room_of(module)
    if room in ("", "__main__"):
        return []
    if room in GROUND:
        allowed = set(GROUND)
    elif room in ORDER:
        allowed = {*GROUND, *ORDER[: ORDER.index(room) + 1]}
    elif room == "dashboard":
        allowed = set()
    elif room == SUITES:
        allowed = {*GROUND, *CORE, SUITES}
    else:
        assert room in FACES, f"{module}: which room is that?"
        allowed = {*GROUND, *ORDER, *(FACES if room == "cli" else (room,))}
    return sorted(other for other in GRAPH[module] if room_of(other) not in allowed)


def test_a_room_of_the_compressors_imports_only_those_before_it() -> None:
    def place(name: str) -> int | None:
        parts = name.split(".")
        return WITHIN.index(parts[3]) if parts[2] == "compressors" and len(parts) > 4 else None

    modules = [module for module in MODULES if module.startswith("leanfront.core.compressors.")]
    wrong = [
        f"{module} imports {other}"
        for module in modules
        # Modules beside the rooms put them together, or all rooms use them.
        if (own := place(module)) is not None
        for other in GRAPH[module]
        if other.startswith("leanfront.core.") and (place(other) or 0) > own
    ]
    assert modules
    assert not wrong, listed(wrong)


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Sets of modules each of which imports each other, by way of others perhaps."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in graph.get(waiting.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)
        reach[start] = seen
    found: list[set[str]] = []
    for module in graph:
        circle = {other for other in reach[module] if module in reach.get(other, ())}
        if circle and circle not in found:
            found.append(circle)
    return found


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles(GRAPH) == []


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_imports_are_seen_in_functions_for_type_checkers_and_through_faces() -> None:
    code = """
from typing import TYPE_CHECKING
import os, leanfront.errors as e
if TYPE_CHECKING:
    from leanfront.core.storage import tables
def f():
    from leanfront.core.search import SAMPLERS
    from leanfront.core import search
"""
    assert set(imported(ast.parse(code))) == {
        "leanfront.errors",
        "leanfront.core.storage.tables",
        "leanfront.core.search.samplers",
        "leanfront.core.search",
    }


def test_no_room_imports_what_no_user_has() -> None:
    # Type checkers bring typing_extensions; it is imported for them alone.
    known = {"leanfront"} | sys.stdlib_module_names | requirements() | {"typing_extensions"}
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in sorted({name.partition(".")[0] for name in every_import(module)})
        if name not in known and name.lower() not in known
    ]
    assert not wrong, f"{listed(wrong)}\nwhich pyproject.toml does not require"


def requirements() -> set[str]:
    """Import names of what pyproject.toml requires, extras for users included."""
    project = project_table()["project"]
    extras = {name: found for name, found in project["optional-dependencies"].items() if name != "dev"}
    wanted = [*project["dependencies"], *(each for found in extras.values() for each in found)]
    names = {re.split(r"[\[<>=!~ ;]", requirement)[0].lower().replace("-", "_") for requirement in wanted}
    other = {"pillow": "pil", "scikit_learn": "sklearn"}
    return {other.get(name, name) for name in names}


def project_table() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_only_the_store_speaks_sql() -> None:
    """Whatever a database is asked is a method of the store: no other room imports a driver, or the tables."""
    speaking = [
        f"{module} imports {name}"
        for module in MODULES
        for name in every_import(module)
        if any(f"{name}.".startswith(f"{each}.") for each in SQL)
        # The export hands Optuna's own storage a database, and words what that says of it.
        and not (module == "leanfront.core.search.export" and name.startswith("sqlalchemy"))
    ]
    wrong = [each for each in speaking if room_of(each.partition(" ")[0]) != "storage"]
    assert len(speaking) > len(wrong), "nothing speaks SQL: is it still found?"
    assert not wrong, listed(wrong)


def test_no_top_level_name_shadows_the_standard_library() -> None:
    taken = sys.stdlib_module_names | {"compression"}  # standard from Python 3.14 on
    tops = {path.relative_to(ROOT).parts[0] for path in FILES}
    names = {Path(top).stem for top in tops if top.endswith(".py") or (ROOT / top).is_dir()}
    assert names & taken == set()


def test_every_folder_of_modules_is_a_package() -> None:
    """One without __init__.py would be left out of the wheel without a word."""
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    assert {module.rpartition(".")[0] for module in MODULES if module not in packages} <= packages


def test_the_rooms_are_mapped_and_linked() -> None:
    """The map installs them; the links let type checkers, editors and an uninstalled checkout find them."""
    table = project_table()["tool"]["setuptools"]["package-dir"]
    assert table == {f"leanfront.core.{room}": room for room in CORE}
    for room in CORE:
        link = ROOT / "leanfront" / "core" / room
        # Where links cannot be made (some checkouts on Windows) git writes their text into a file.
        target = str(link.readlink().as_posix()) if link.is_symlink() else link.read_text(encoding="utf-8")
        assert target == f"../../{room}"


FACED = ("leanfront", f"leanfront.{SUITES}", *(f"leanfront.core.{room}" for room in CORE))
"""Packages whose names are imported when they are asked for."""


@pytest.mark.parametrize("room", FACED)
def test_a_face_is_lazy_documented_and_gives_what_it_lists(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__doc__
    names = FACE_NAMES[room]
    assert sorted(names) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    # A module that is imported becomes an attribute of its package, in the place of what the face gives so.
    folder = MODULES[room].parent
    beside = {path.stem for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    assert {
        name for name, source in names.items() if name in beside and not source.endswith(f".{name}")
    } == set()


@pytest.mark.parametrize("room", FACED)
def test_a_face_imports_nothing_that_computes_before_it_is_asked_for(room: str) -> None:
    code = f"import sys, {room}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ("torch", "torchvision", "scipy", "sklearn", "optuna", "plotly", "onnx", "sqlalchemy", "numpy")


def test_no_file_is_too_long() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
        if path.suffix == ".py"
    }
    wrong = [f"{name}: {length} lines" for name, length in lengths.items() if length > ALARM]
    assert lengths
    assert not wrong, listed(wrong)


# Built from parts, so that this file holds none of them.
PLACES = re.compile(
    r"(?<![\w.~}-])/(?:" + "|".join(["ro" + "ot", "ho" + "me", "wo" + "rk", "Us" + "ers"]) + r")/[\w.]"
)
HOSTS = re.compile(
    "|".join(
        re.escape(first + second)
        for first, second in [
            ("pypi", ".org"),
            ("pythonhosted", ".org"),
            ("download.py", "torch.org"),
            ("--index", "-url"),
            ("--extra-index", "-url"),
            ("--find", "-links"),
        ]
    )
)


def test_no_file_names_a_machine_or_a_package_index() -> None:
    wrong = []
    for path in FILES:
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode().splitlines(), start=1):
            if PLACES.search(line):
                wrong.append(f"{name_of(path)}:{number} names a folder of one machine: {line.strip()}")
            if HOSTS.search(line):
                wrong.append(f"{name_of(path)}:{number} names a package index: {line.strip()}")
    assert not wrong, listed(wrong)


@pytest.mark.parametrize("line", ["see /ho" + "me/ann/x", "'/ro" + "ot/.cache'", "cd /wo" + "rk/main"])
def test_places_are_found(line: str) -> None:
    assert PLACES.search(line)


@pytest.mark.parametrize("line", ["data/wo" + "rk/x", "~/ho" + "me/x", "a/ro" + "ot/b"])
def test_relative_paths_are_no_places(line: str) -> None:
    assert not PLACES.search(line)


def test_a_script_is_executable_and_strict() -> None:
    # One that begins with "_" is sourced.
    scripts = [p for p in FILES if p.parts[-2] in ("scripts", ".ci") and not p.name.startswith("_")]
    assert scripts
    wrong = []
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        rules = {
            "begins with another line": text.startswith("#!/usr/bin/env bash\n"),
            "is not strict": "\nset -euo pipefail\n" in text,
            "is not executable": path.stat().st_mode & 0o111 == 0o111,
            "is not bash": subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0,
        }
        wrong += [f"{name_of(path)} {fault}" for fault, kept in rules.items() if not kept]
    assert not wrong, listed(wrong)
