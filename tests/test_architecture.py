"""The repository keeps the design's rules: order of rooms, names, file lengths, no trace of a machine."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("targets", "compressors", "cost_models", "objectives", "search", "storage", "audit", "leanfront")
"""A room may import those before it. The face comes last, so `audit` cannot import it."""
PRESENT = tuple(room for room in ROOMS if (ROOT / room).is_dir())
LONGEST = 500
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
    return sorted({path for path in found if path.is_file()})


FILES = files()
MODULES = [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PRESENT]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(code: str, room: str) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import of a module of a room, those inside functions too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, room if node.level else str(node.module).partition(".")[0]


def imports(path: Path) -> list[tuple[int, str]]:
    """`imported` of a file."""
    return list(imported(path.read_text(encoding="utf-8"), path.relative_to(ROOT).parts[0]))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    wrong = [f"line {line}: {name}" for line, name in imports(path) if name in ROOMS and name not in allowed]
    assert not wrong, f"{name_of(path)} imports a room that comes after '{room}': {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_room_imports_what_no_user_has(path: Path) -> None:
    # Type checkers bring typing_extensions; it is imported for them alone.
    known = set(ROOMS) | sys.stdlib_module_names | requirements() | {"typing_extensions"}
    wrong = [name for _, name in imports(path) if name not in known and name.lower() not in known]
    assert not wrong, f"{name_of(path)} imports {wrong}, which pyproject.toml does not require"


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


def test_imports_are_seen_in_functions_under_aliases_and_relative() -> None:
    code = "import os, leanfront.core.storage.tables as t\ndef f():\n    from leanfront.local.searches import search\n    from . import x\n"
    assert list(imported(code, "targets")) == [(1, "os"), (1, "storage"), (3, "leanfront"), (4, "targets")]


def test_no_top_level_name_shadows_the_standard_library() -> None:
    taken = sys.stdlib_module_names | {"compression"}  # standard from Python 3.14 on
    tops = {path.relative_to(ROOT).parts[0] for path in FILES}
    names = {Path(top).stem for top in tops if top.endswith(".py") or (ROOT / top).is_dir()}
    assert names & taken == set()


def test_every_package_is_listed_in_pyproject() -> None:
    listed = project_table()["tool"]["setuptools"]["packages"]
    packages = {
        ".".join(path.relative_to(ROOT).parent.parts) for path in MODULES if path.name == "__init__.py"
    }
    assert sorted(packages) == sorted(listed)
    assert set(PRESENT) <= set(listed)
    # A folder of modules without __init__.py would be left out of the wheel without a word.
    assert {".".join(path.relative_to(ROOT).parent.parts) for path in MODULES} == packages


@pytest.mark.parametrize("room", PRESENT)
def test_a_room_has_a_sorted_and_importable_face(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__doc__
    assert list(module.__all__) == sorted(module.__all__, key=isort_style)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert len(set(module.__all__)) == len(module.__all__)


def isort_style(name: str) -> tuple[int, str]:
    """Ruff's order of `__all__`: SCREAMING_CASE, then CamelCase, then the rest."""
    bare = name.lstrip("_")
    return (0 if bare.isupper() and len(bare) > 1 else 1 if bare[:1].isupper() else 2), name


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".py"], ids=name_of)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


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


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_names_a_machine_or_a_package_index(path: Path) -> None:
    content = path.read_bytes()
    if b"\0" in content:
        return
    for number, line in enumerate(content.decode().splitlines(), start=1):
        assert not PLACES.search(line), f"line {number} names a folder of one machine: {line.strip()}"
        assert not HOSTS.search(line), f"line {number} names a package index: {line.strip()}"


@pytest.mark.parametrize("line", ["see /ho" + "me/ann/x", "'/ro" + "ot/.cache'", "cd /wo" + "rk/main"])
def test_places_are_found(line: str) -> None:
    assert PLACES.search(line)


@pytest.mark.parametrize("line", ["data/wo" + "rk/x", "~/ho" + "me/x", "a/ro" + "ot/b"])
def test_relative_paths_are_no_places(line: str) -> None:
    assert not PLACES.search(line)


@pytest.mark.parametrize("path", [p for p in FILES if p.parts[-2] in ("scripts", ".ci")], ids=name_of)
def test_a_script_is_executable_and_strict(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name.startswith("_"):
        return  # sourced
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in text
    assert path.stat().st_mode & 0o111 == 0o111
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
