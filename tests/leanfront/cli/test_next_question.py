"""The query that a search suggests has an answer."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import leanfront
from leanfront.reports.text import next_question
from tests.leanfront.commands import run


@pytest.mark.parametrize("largest", [False, True])
def test_it_has_an_answer(finished: str, largest: bool) -> None:
    """Also where nothing on the frontier is as small as an eighth of the dense model."""
    stored = leanfront.open_search("done", database=finished)
    frontier = sorted(stored.frontier(), key=lambda each: each.memory_bytes)
    question = next_question(stored.record, frontier[-1:] if largest else frontier, finished)
    assert question is not None
    done = run(*shlex.split(question)[1:], "--no-verify")
    assert done.exit_code == 0, done.output


def test_without_a_frontier_there_is_none(finished: str) -> None:
    record = replace(leanfront.open_search("done", database=finished).record, name="empty")
    assert next_question(record, [], None) is None


def test_a_search_ends_at_its_space(tiny_file: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    found = leanfront.search(f"{tiny_file}:target", trials=12, bits=(8,), bounds={}, database=url)
    smallest = min(found.frontier(), key=lambda each: each.memory_bytes)
    ends = smallest.memory_bytes == found.record.settings["cheapest"]["memory_bytes"]
    assert ends == ("the space ends there" in (found.record.message or ""))
