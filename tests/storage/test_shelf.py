from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from leanfront.core.search.verification import Claim, Verification
from leanfront.core.storage import ArtifactStore, FrontierStore, Shelf, check
from leanfront.errors import NotFoundError, StorageError

POINTS = [(0.9, 100.0, 10.0), (0.5, 50.0, 5.0)]


@pytest.fixture
def shelf(store: FrontierStore, tmp_path: Path, build: Any) -> Shelf:
    """An empty shelf beside the searches `mine` and `other`, of two candidates each."""
    build.fill(store, POINTS)
    build.fill(store, POINTS, name="other")
    for name in ("mine", "other"):
        store.set_state(name, "done")
    return Shelf(store.database, ArtifactStore(tmp_path / "artifacts"))


def files(shelf: Shelf) -> set[bytes]:
    return {shelf.folder.get(digest) for digest in shelf.folder}


def rows(store: FrontierStore, table: str) -> int:
    with store.database.connection() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM leanfront_{table}")).scalar_one())


def age(shelf: Shelf, seconds: float) -> None:
    """Make every file and every row of one older."""
    then = time.time() - seconds
    for path in shelf.folder.folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))
    long_ago = "2020-01-01 00:00:00" + ("" if shelf.database.is_sqlite else "+00")
    with shelf.database.connection(write=True) as connection:
        connection.execute(text(f"UPDATE leanfront_artifacts SET created = '{long_ago}'"))


def test_a_candidates_file_is_kept_and_found(shelf: Shelf) -> None:
    made = shelf.keep(1, "safetensors", b"packed")
    assert (made.digest, made.kind, made.bytes) == (
        hashlib.sha256(b"packed").hexdigest(),
        "safetensors",
        6,
    )
    assert shelf.find(1, "safetensors") == made
    assert shelf.folder.get(made.digest) == b"packed"
    assert shelf.find(1, "onnx") is None
    assert shelf.find(2, "safetensors") is None
    assert shelf.keep(1, "safetensors", b"packed").digest == made.digest


def test_a_file_that_takes_anothers_place_removes_it(shelf: Shelf) -> None:
    shelf.keep(1, "onnx", b"old")
    shelf.keep(2, "onnx", b"old")
    shelf.keep(1, "onnx", b"new")
    assert files(shelf) == {b"old", b"new"}
    shelf.keep(2, "onnx", b"new")
    assert files(shelf) == {b"new"}


def test_nobodys_file_is_not_kept(shelf: Shelf, store: FrontierStore) -> None:
    with pytest.raises(NotFoundError, match="no candidate 99"):
        shelf.keep(99, "onnx", b"x")
    with pytest.raises(NotFoundError, match="no search named 'none'"):
        shelf.keep_weights("none", b"x")
    assert files(shelf) == set()
    assert rows(store, "artifacts") == 0


def test_deleting_a_search_removes_what_only_it_needs(shelf: Shelf, store: FrontierStore) -> None:
    for candidate, content in ((1, b"mine"), (2, b"both"), (3, b"both"), (4, b"other")):
        shelf.keep(candidate, "safetensors", content)
    for name in ("mine", "other"):
        shelf.keep_weights(name, b"dense")
    store.add_verification(Verification(1, (Claim("macs", 1.0, 1.0),)))
    digests = store.delete_search("mine")
    assert len(digests) == 3
    # The files are there until they are discarded: a process that dies in between leaves no row without its file.
    assert files(shelf) == {b"mine", b"both", b"other", b"dense"}
    assert shelf.discard(digests) == 1
    assert files(shelf) == {b"both", b"other", b"dense"}
    assert (rows(store, "candidate_artifacts"), rows(store, "verifications")) == (2, 0)
    shelf.discard(store.delete_search("other"))
    assert files(shelf) == set()
    assert rows(store, "artifacts") == 0
    assert check(store.database.engine.url.render_as_string(hide_password=False), shelf.folder).ok


def test_a_writer_and_a_remover_of_the_same_content(shelf: Shelf, store: FrontierStore) -> None:
    """Whoever comes first: what is needed in the end is there."""
    other = Shelf(store.database, shelf.folder)
    for turn in range(12):
        content = b"turn %d" % turn
        digest = shelf.keep(1, "onnx", content).digest
        begin = threading.Barrier(2)

        def remove(digest: str = digest, begin: threading.Barrier = begin) -> None:
            begin.wait(20)
            # The first candidate's file becomes another one, which discards this one.
            other.keep(1, "onnx", b"something else")

        def write(content: bytes = content, begin: threading.Barrier = begin) -> None:
            begin.wait(20)
            shelf.keep(3, "onnx", content)

        with ThreadPoolExecutor(2) as executor:
            for future in (executor.submit(remove), executor.submit(write)):
                future.result(30)
        assert shelf.folder.get(digest) == content


def test_a_file_removed_under_its_writer_is_written_again(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = shelf.folder.put

    def slow(content: Any) -> str:
        digest = put(content)
        monkeypatch.setattr(shelf.folder, "put", put)
        # Another process has just seen that nothing needs it.
        assert Shelf(shelf.database, ArtifactStore(shelf.folder.folder)).discard([digest]) == 1
        assert digest not in shelf.folder
        return digest

    for keep in (lambda: shelf.keep(1, "onnx", b"one").digest, lambda: shelf.keep_weights("mine", b"two")):
        monkeypatch.setattr(shelf.folder, "put", slow)
        assert keep() in shelf.folder


def test_what_is_left_behind_is_reported_and_removed(shelf: Shelf, store: FrontierStore, url: str) -> None:
    kept = shelf.keep(1, "onnx", b"kept").digest
    shelf.keep_weights("mine", b"dense")
    stray = shelf.folder.put(b"a process died before it said whose this is")
    half = shelf.folder.folder / ".tmp-half"
    half.write_bytes(b"ha")
    # It may be about to say so.
    assert (check(url, shelf.folder).strays, shelf.clean()) == (0, 0)
    age(shelf, 7200)
    report = check(url, shelf.folder)
    assert report.ok
    assert (report.files, report.strays) == (2, 1)
    assert shelf.clean() == 2
    assert not half.exists()
    assert stray not in shelf.folder
    assert files(shelf) == {b"kept", b"dense"}
    assert check(url, shelf.folder).strays == 0
    # A row whose file was removed, by a process that died before it could remove the row.
    age(shelf, 7200)
    with store.database.writing() as session:
        session.execute(text("DELETE FROM leanfront_candidate_artifacts"))
    shelf.folder.remove(kept)
    assert check(url, shelf.folder).strays == 1
    assert shelf.clean() == 1
    assert rows(store, "artifacts") == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "no artifact"),
        (lambda path: path.write_bytes(b"kepT"), "is damaged"),
        (lambda path: path.write_bytes(b"kep"), "is damaged"),
    ],
)
def test_files_that_are_needed_are_checked(
    shelf: Shelf, url: str, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(shelf.folder.path(shelf.keep(1, "onnx", b"kept").digest))
    report = check(url, shelf.folder)
    assert not report.ok
    assert says in report.problems[0]
    # Without a folder nothing is said of files.
    assert check(url, ArtifactStore(shelf.folder.folder / "none")).ok
    assert check(url).files is None


def test_an_unwritable_folder_changes_nothing(store: FrontierStore, build: Any, tmp_path: Path) -> None:
    build.fill(store, POINTS)
    (tmp_path / "file").write_text("no folder")
    shelf = Shelf(store.database, ArtifactStore(tmp_path / "file"))
    with pytest.raises(StorageError, match="cannot write to the artifacts"):
        shelf.keep(1, "onnx", b"x")
    assert rows(store, "artifacts") == 0


def test_a_verification_is_stored_and_shown(store: FrontierStore, build: Any) -> None:
    build.fill(store, POINTS)
    assert [each.verified for each in store.frontier("mine")] == [None, None]
    with pytest.raises(NotFoundError, match="candidate 1 has not been verified"):
        store.verification(1)
    with pytest.raises(NotFoundError, match="no candidate 99"):
        store.verification(99)
    version = store.search("mine").frontier_version
    claims = (
        Claim("macs", 10.0, 10.0, unit="MAC"),
        Claim("accuracy", 0.9, None, "test", 0.001, "1"),
        Claim("artifact", "this candidate's", "not an artifact: \ud800\0", unit=""),
    )
    made = Verification(1, claims, {"latency_ms": "an artifact does not tell it"}, "1.2.3")
    assert store.add_verification(made).verified is False
    found = store.verification(1)
    assert (found.ok, found.release, found.unchecked) == (False, "1.2.3", made.unchecked)
    assert found.claims[:2] == claims[:2]
    assert found.claims[2].found == "not an artifact: ??"
    assert [claim.name for claim in found.broken] == ["accuracy", "artifact"]
    assert Verification.from_json(found.to_json()) == found
    # Whoever has read the frontier must read it again.
    assert store.search("mine").frontier_version == version + 1
    assert {each.id: each.verified for each in store.frontier("mine")} == {1: False, 2: None}
    assert store.select("mine").candidate.verified is False  # type: ignore[union-attr]
    store.add_verification(replace(made, claims=claims[:1]))
    assert store.candidate(1).verified is True
    assert store.candidate(1).to_json()["verified"] is True
    assert rows(store, "verifications") == 1
    with pytest.raises(NotFoundError, match="no candidate 99"):
        store.add_verification(replace(made, candidate=99))


def test_the_same_job_is_queued_once(store: FrontierStore, build: Any) -> None:
    build.fill(store, POINTS)
    first = store.jobs.queue("export", "mine", candidate=1, parameters={"format": "onnx"})
    assert store.jobs.queue("export", "mine", candidate=1, parameters={"format": "onnx"}).id == first.id
    others = [
        store.jobs.queue("export", "mine", candidate=1, parameters={"format": "pt2"}),
        store.jobs.queue("export", "mine", candidate=2, parameters={"format": "onnx"}),
        store.jobs.queue("verify", "mine", candidate=1),
    ]
    assert len({first.id, *(job.id for job in others)}) == 4
    claimed = store.jobs.claim("runner", ["export"])
    assert claimed is not None
    assert store.jobs.queue("export", "mine", candidate=1, parameters={"format": "onnx"}).id == first.id
    store.jobs.finish(claimed[1], "failed", "no memory")
    assert store.jobs.queue("export", "mine", candidate=1, parameters={"format": "onnx"}).id > others[-1].id
