"""Recovered candidates: stored with their file in one transaction, by no trial; checkpoints beside the files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from leanfront.core.compressors import Recovery
from leanfront.core.search import Candidate
from leanfront.core.storage import ArtifactStore, FrontierStore, Shelf, check
from leanfront.core.storage.shelf import CHECKPOINT_SECONDS
from leanfront.errors import NotFoundError, StorageError

Link = Callable[[Session, int], None]


@pytest.fixture
def shelf(store: FrontierStore, tmp_path: Path, build: Any) -> Shelf:
    """An empty shelf beside the search `mine`, of two candidates."""
    build.fill(store, [(0.9, 100.0, 10.0), (0.5, 50.0, 5.0)])
    store.set_state("mine", "done")
    return Shelf(store.database, ArtifactStore(tmp_path / "artifacts"))


@pytest.fixture
def child(store: FrontierStore, shelf: Shelf, build: Any) -> Candidate:
    """What training made of the second candidate, not stored yet."""
    parent = store.candidate(2)
    better: Candidate = build.point(9, 0.7, 50.0, 5.0)
    configuration = parent.configuration.change(recovery=(Recovery().to_json(),))
    return replace(better, configuration=configuration, parent=2, number=parent.number)


def linked(shelf: Shelf, content: bytes) -> Link:
    shelf.folder.put(content)
    return lambda session, identifier: shelf.link(session, identifier, "safetensors", content)


def test_a_recovered_candidate_comes_with_its_file(
    store: FrontierStore, shelf: Shelf, child: Candidate, url: str
) -> None:
    trials = store.trials("mine")
    stored = store.add_recovered(child, linked(shelf, b"packed"))
    assert (stored.id, stored.parent, stored.on_frontier) == (3, 2, True)
    found = shelf.find(3, "safetensors")
    assert found is not None
    assert shelf.folder.get(found.digest) == b"packed"
    # No trial has made it: the study is rebuilt as before.
    assert store.trials("mine") == trials
    assert store.search("mine").trials == 2
    assert store.search("mine").frontier_size == 2
    assert {each.id for each in store.frontier("mine")} == {1, 3}
    assert {each.id for each in store.frontier("mine", stage="before")} == {1, 2}
    assert [each.id for each in store.recovered("mine")] == [3]
    assert [each.id for each in store.recovered("mine", 2)] == [3]
    assert store.recovered("mine", 1) == []
    assert check(url, shelf.folder).ok
    # Whoever comes second gets the one there is, and nothing is linked to it.
    assert store.add_recovered(child, linked(shelf, b"other")).id == 3
    assert shelf.find(3, "safetensors") == found
    assert len(store.recovered("mine")) == 1


def test_without_its_file_it_is_not_stored(
    store: FrontierStore, shelf: Shelf, child: Candidate, url: str
) -> None:
    def fails(session: Session, identifier: int) -> None:
        linked(shelf, b"packed")(session, identifier)
        raise OSError("no space")

    with pytest.raises(StorageError, match="no space"):
        store.add_recovered(child, fails)
    assert store.recovered("mine") == []
    assert shelf.find(3, "safetensors") is None
    assert {each.id for each in store.frontier("mine")} == {1, 2}
    assert check(url, shelf.folder).ok
    with pytest.raises(NotFoundError, match="no candidate 77"):
        store.add_recovered(replace(child, parent=77), linked(shelf, b"packed"))
    # One that is there without all the same is found by a check.
    identifier = store.add_recovered(child).id
    assert identifier is not None
    assert check(url).problems == (f"recovered candidate {identifier} has no file (1 in all)",)
    shelf.keep(identifier, "safetensors", b"packed")
    assert check(url, shelf.folder).ok


def test_several_store_the_same_at_once(
    store: FrontierStore, shelf: Shelf, child: Candidate, url: str
) -> None:
    ready = threading.Barrier(4)

    def add(number: int) -> int | None:
        link = linked(shelf, b"packed %d" % number)
        ready.wait()
        return store.add_recovered(child, link).id

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(add, range(4))) == {3}
    kept = shelf.find(3, "safetensors")
    assert kept is not None
    shelf.discard(list(shelf.folder))
    assert list(shelf.folder) == [kept.digest]
    assert check(url, shelf.folder).ok


def test_old_checkpoints_are_removed(shelf: Shelf, url: str) -> None:
    path = shelf.folder.checkpoint("2-abc.safetensors")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    assert shelf.clean(0) == 0
    then = time.time() - CHECKPOINT_SECONDS - 60
    os.utime(path, (then, then))
    report = check(url, shelf.folder)
    assert (report.ok, report.strays) == (True, 0)
    assert shelf.clean() == 1
    assert not path.exists()
