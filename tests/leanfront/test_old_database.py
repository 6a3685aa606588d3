"""A database and an artifact folder that release c0ef1a0 made: they open, resume, verify and say what they said.

``data/c0ef1a0.zip`` was made with it: ``leanfront search tiny.py:target --trials 12 --name made``, an audit of the
kind ``calibration``, ``leanfront verify made``, and what ``frontier``, ``searches`` and ``audit --stored`` print as
JSON. Later releases add archives of their own beside it.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from leanfront.core.storage import FrontierStore
from leanfront.core.storage import upgrade as upgrade_database
from leanfront.errors import SchemaError
from tests.leanfront.commands import run

ARCHIVES = sorted((Path(__file__).parent / "data").glob("*.zip"))


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """(address, folder) of the database, as it was left."""
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path)
    return f"sqlite:///{tmp_path / request.param.stem}.db", tmp_path


def said(folder: Path, what: str) -> Any:
    return json.loads((folder / f"{what}.json").read_text(encoding="utf-8"))


def test_it_opens_and_says_what_it_said(old: tuple[str, Path]) -> None:
    url, folder = old
    with pytest.raises(SchemaError, match="leanfront database upgrade"):
        FrontierStore(url)
    before, after = upgrade_database(url)
    assert before == "0006"
    assert after != before
    for what, command in (
        ("frontier", ["frontier", "made"]),
        ("searches", ["searches"]),
        ("audits", ["audit", "made", "--stored"]),
    ):
        told = run(*command, "--json", "--database", url)
        assert told.exit_code == 0, told.stderr
        assert json.loads(told.stdout) == said(folder, what)
    assert run("database", "check", "--database", url).exit_code == 0


def test_it_resumes_and_verifies(old: tuple[str, Path], tiny_file: Path) -> None:
    """With the files that were kept of its candidates, and the target where it is now."""
    url, folder = old
    upgrade_database(url)
    target = f"{tiny_file}:target"
    resumed = run("resume", "made", "--trials", "16", "--target", target, "--database", url, "--json")
    assert resumed.exit_code == 0, resumed.stderr
    store = FrontierStore(url)
    assert store.search("made").trials == 16
    known = {each["id"] for each in said(folder, "frontier")["candidates"]}
    for identifier in sorted(known):
        candidate = store.candidate(identifier)
        assert candidate.verified
        again = run("verify", str(identifier), "--target", target, "--database", url, "--json")
        assert again.exit_code == 0, again.stdout
        (found,) = json.loads(again.stdout)["verifications"]
        assert found["ok"]
        # Of the very file that the old release kept.
        assert any(claim["name"] == "sha256" for claim in found["claims"])
