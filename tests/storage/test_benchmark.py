"""`benchmarks/store.py` runs, at a size that says nothing of speed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "store.py"


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ("read --trials 60 --front 20 --repeats 2", 8),
        ("trial --trials 12", 2),
        ("insert --candidates 60 --front 20 --sizes 5,10 --repeats 3", 6),
        ("select --candidates 60 --front 20 --repeats 3", 16),
    ],
)
def test_every_table_is_printed(arguments: str, rows: int) -> None:
    specification = importlib.util.spec_from_file_location("store_benchmark", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    done = CliRunner().invoke(module.main, arguments.split(), catch_exceptions=False)
    assert done.exit_code == 0
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    # Every table has a line of names, and one of dashes.
    tables = sum(line.startswith("|---") for line in done.stdout.splitlines())
    assert len(lines) - tables == rows
    assert "nan" not in done.stdout
