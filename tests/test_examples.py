"""The examples run, with small settings, and print what they are for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import leanfront
from tests.forked import Forks

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(forks: Forks, folder: Path, example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = ("LEANFRONT_DATABASE", "LEANFRONT_ARTIFACTS")
    environment = {key: value for key, value in os.environ.items() if key not in settings}
    environment["OMP_NUM_THREADS"] = "1"  # the models are too small for more to pay
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    return forks.run(["python", str(EXAMPLES / example), *arguments], cwd=folder, env=environment)


def test_no_example_is_left_out() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for example in EXAMPLES.glob("*.py"):
        assert f'"{example.name}"' in here


@pytest.mark.slow
def test_own_model_and_the_query_of_its_search(forks: Forks, tmp_path: Path) -> None:
    database = "sqlite:///leanfront.db"
    done = run(
        forks, tmp_path, "own_model.py", "--trials", "12", "--max-memory", "8KB", "--database", database
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"within 8KB: candidate \d+ of search 'wine'", done.stdout)

    done = run(forks, tmp_path, "query_from_another_program.py", "wine", "1", "8KB")
    assert done.returncode == 0, done.stderr
    infeasible, feasible = done.stdout.splitlines()
    assert "nothing fits, memory_bytes binds" in infeasible
    assert "ship candidate" in feasible
    stored = leanfront.open_search("wine", database=f"sqlite:///{tmp_path / 'leanfront.db'}")
    assert f"ship candidate {stored.select(max_memory='8KB').id}:" in feasible

    done = run(forks, tmp_path, "query_from_another_program.py", "nobody", "8KB")
    assert done.returncode == 1
    assert "no search named 'nobody'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_compare_criteria_names_every_criterion(forks: Forks, tmp_path: Path) -> None:
    done = run(forks, tmp_path, "compare_criteria.py", "--keep", "0.9", "--bits", "8")
    assert done.returncode == 0, done.stderr
    accuracies = dict(re.findall(r"^(\w+)\s+(\d\.\d{4})", done.stdout, re.MULTILINE))
    assert list(accuracies) == ["dense", *leanfront.CRITERIA]
    assert all(0.5 < float(value) <= 1 for value in accuracies.values())
