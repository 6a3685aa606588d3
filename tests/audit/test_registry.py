"""The registries of audits: a folder a kind, specifications that hold what they say, and light to load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from leanfront.core import audit
from leanfront.core.audit import KINDS, LEVELS, Auditor, Findings, Kind, register
from leanfront.core.audit.kinds import FOLDERS
from leanfront.core.audit.pieces import Gallery
from leanfront.core.audit.table import Table
from leanfront.core.compressors import Structure
from leanfront.core.storage import AuditRecord
from leanfront.deferred import Deferred
from leanfront.reports.chapters import chapter_of, kinds_in_order

ROOM = Path(str(audit.__file__)).parent
HEAVY = ("torch", "torchvision", "plotly", "scipy", "sklearn", "optuna", "onnx")


def deferred(kind: Kind) -> Iterator[Deferred]:
    values = (getattr(kind, each.name) for each in fields(kind))
    yield from (value for value in values if isinstance(value, Deferred))


def loaded_by(code: str) -> list[str]:
    """What is heavy of what a new process has loaded after some code."""
    command = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_kind_a_folder() -> None:
    folders = {path.parent.name for path in (ROOM / "kinds").glob("*/*.py")}
    assert len(FOLDERS) == len(set(FOLDERS))
    assert set(FOLDERS) == folders
    assert tuple(KINDS)[: len(FOLDERS)] == FOLDERS
    for folder in FOLDERS:
        assert {"kind.py", "audit.py", "tables.py", "figures.py"} <= {
            path.name for path in (ROOM / "kinds" / folder).iterdir()
        }
        kind = KINDS[folder]
        assert kind.name == folder
        assert kind.title
        assert kind.source
        assert kind.reading
        for each in deferred(kind):
            assert each.address.startswith(f"leanfront.core.audit.kinds.{folder}.")


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_kind_names_is_there(folder: str) -> None:
    kind = KINDS[folder]
    assert all(callable(each.function) for each in deferred(kind))
    for what in (kind.run, kind.tables, kind.figures):
        assert isinstance(what, Deferred)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_kind_knows_no_other(folder: str) -> None:
    """What two kinds share lies in a module of its own outside of both."""
    for path in (ROOM / "kinds" / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("leanfront.core.audit.kinds"):
                assert str(node.module).startswith(f"leanfront.core.audit.kinds.{folder}."), path


def test_levels_are_there(structure: Structure) -> None:
    for name, level in LEVELS.items():
        assert level.name == name
        assert level.title
        names = [version.name for version in level.versions(structure)]
        assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize(
    "code",
    [
        "from leanfront.core.audit import KINDS, LEVELS, PATHS, AuditOptions, kinds_of, register\n"
        "AuditOptions()\nassert kinds_of(KINDS)",
        "from leanfront.core.audit.arrays import packed, unpacked",
        "from leanfront.core.audit import bounds_of",
        "from leanfront.core.audit import KINDS\nfor kind in KINDS.values(): kind.tables.function",
        "import leanfront.reports.chapters, leanfront.reports.audit_report",
    ],
)
def test_what_is_asked_of_a_registry_is_light(code: str) -> None:
    assert loaded_by(code) == []


def test_figures_need_plotly_alone() -> None:
    code = "from leanfront.core.audit import KINDS\nfor kind in KINDS.values(): kind.figures.function"
    assert loaded_by(code) == ["plotly"]


def test_a_kind_of_a_user() -> None:
    def counted(auditor: Auditor) -> Findings:
        return Findings({"samples": len(auditor.data)})

    kind = Kind(
        "counted",
        "Counted",
        counted,
        reading="How many there are.",
        tables=lambda document: [Table("Counted", ["samples"], [[str(document["samples"])]])],
        figures=lambda document: [Gallery("Nothing", note="None.")],
    )
    try:
        assert register(kind) is kind
        assert kinds_in_order() == [*FOLDERS, "counted"]
        record = AuditRecord("mine", "counted", {"samples": 3, "versions": []})
        (part,) = chapter_of("counted", [record]).to_json()["parts"]
        assert part["tables"][0]["rows"] == [["3"]]
        assert part["pieces"] == [
            {"type": "gallery", "title": "Nothing", "cards": (), "note": "None.", "fold": ""}
        ]
        with pytest.raises(ValueError, match="'counted' is registered already"):
            register(kind)
    finally:
        del KINDS["counted"]
