from __future__ import annotations

import hashlib
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leanfront.core.storage import ArtifactStore
from leanfront.errors import NotFoundError, StorageError


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "deep" / "artifacts")


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 100 kB: writing more fails half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(artifacts: ArtifactStore) -> list[Path]:
    return [path for path in artifacts.folder.rglob("*") if path.is_file()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(content=st.binary(max_size=5000))
def test_content_comes_back(artifacts: ArtifactStore, content: bytes) -> None:
    digest = artifacts.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert artifacts.get(digest) == content
    assert artifacts.path(digest).read_bytes() == content
    assert digest in artifacts


def test_a_file_is_copied(artifacts: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "model.bin"
    content = os.urandom(3 << 20)
    source.write_bytes(content)
    for path in (source, str(source)):
        assert artifacts.get(artifacts.put(path)) == content
    assert source.read_bytes() == content
    assert len(files(artifacts)) == 1


def test_the_same_content_is_stored_once(artifacts: ArtifactStore) -> None:
    assert artifacts.put(b"same") == artifacts.put(b"same")
    other = artifacts.put(b"other")
    assert len(files(artifacts)) == 2
    assert list(artifacts) == sorted([other, hashlib.sha256(b"same").hexdigest()])


def test_files_get_the_usual_permissions(artifacts: ArtifactStore, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    stored = artifacts.path(artifacts.put(b"x"))
    assert stat.S_IMODE(stored.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_damaged_file_is_refused_and_mended_by_storing_again(artifacts: ArtifactStore) -> None:
    digest = artifacts.put(b"content")
    artifacts.path(digest).write_bytes(b"contens")
    with pytest.raises(StorageError, match="is damaged: its content has the digest"):
        artifacts.get(digest)
    artifacts.put(b"content")
    assert artifacts.get(digest) == b"content"


def test_what_is_not_there_is_named(artifacts: ArtifactStore) -> None:
    with pytest.raises(NotFoundError, match=r"no artifact aaaa.*LEANFRONT_ARTIFACTS"):
        artifacts.get("a" * 64)
    assert "a" * 64 not in artifacts
    assert list(artifacts) == []


@pytest.mark.parametrize(
    "digest", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 62 + "/.", "a" * 64 + "\n"]
)
def test_nothing_but_a_digest_names_a_file(artifacts: ArtifactStore, digest: str) -> None:
    with pytest.raises(NotFoundError, match="is no artifact digest"):
        artifacts.path(digest)
    assert digest not in artifacts


def test_a_full_disk_leaves_nothing_half_written(artifacts: ArtifactStore, small_files: None) -> None:
    kept = artifacts.put(b"small")
    with pytest.raises(StorageError, match=r"cannot write to the artifacts in .*the disk has space"):
        artifacts.put(b"x" * 200_000)
    assert files(artifacts) == [artifacts.path(kept)]


def test_a_missing_source_is_named(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"No such file.*nowhere.bin"):
        artifacts.put(tmp_path / "nowhere.bin")
    assert files(artifacts) == []


def test_a_read_only_folder_is_refused(ordinary_folder: Path) -> None:
    ordinary_folder.chmod(0o555)
    with pytest.raises(StorageError, match=r"cannot write to the artifacts.*Permission denied"):
        ArtifactStore(ordinary_folder / "artifacts").put(b"x")


def test_threads_store_the_same_content(artifacts: ArtifactStore) -> None:
    content = os.urandom(100_000)
    digests: list[str] = []
    threads = [threading.Thread(target=lambda: digests.append(artifacts.put(content))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 6
    assert len(set(digests)) == 1
    assert artifacts.get(digests[0]) == content
    assert len(files(artifacts)) == 1
