"""The bank's cache: round trips, damage, eviction, folders that cannot be written, many processes at once.

Run as a program, the file is one of those processes: see `hammer`.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from leanfront.core import compressors
from leanfront.core.compressors.statistics.cache import BankCache, content_key

ROOT = Path(compressors.__file__).resolve().parents[1]
LIMIT = 400_000
PROCESSES = 4
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool)


@pytest.fixture
def cache(tmp_path: Path) -> BankCache:
    return BankCache(tmp_path / "deep" / "cache", LIMIT)


def entry(number: int) -> dict[str, Tensor]:
    """Tensors of 4 to 44 kB that the number alone decides."""
    generator = torch.Generator().manual_seed(number)
    codes = torch.randint(-8, 8, (1000 * (4 + number % 41),), dtype=torch.int8, generator=generator)
    return {"codes": codes, "scale": torch.randn(3, generator=generator)}


def same(one: dict[str, Tensor] | None, other: dict[str, Tensor]) -> bool:
    """Whether names, types, shapes and every bit are equal."""
    return (
        one is not None
        and sorted(one) == sorted(other)
        and all(content_key(one[name]) == content_key(other[name]) for name in other)
    )


def files(cache: BankCache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def size(cache: BankCache) -> int:
    total = 0
    for path in files(cache):
        # Another process may have evicted it, or given it its name, since it was listed.
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def place(cache: BankCache, key: str) -> Path:
    return cache.folder / key[:2] / f"{key[2:]}.safetensors"


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    values = torch.randint(-2, 3, shape, generator=generator).to(draw(st.sampled_from(DTYPES)))
    # Views: their memory is neither theirs alone nor in their order.
    return values.transpose(0, -1)[:2] if values.dim() > 1 and draw(st.booleans()) else values


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(stored=st.dictionaries(st.text(max_size=5).filter(lambda name: name != "__metadata__"), tensors()))
def test_tensors_come_back(cache: BankCache, stored: dict[str, Tensor]) -> None:
    key = content_key(*sorted(stored))
    cache.put(key, stored)
    found = cache.get(key)
    assert found is not None
    assert sorted(found) == sorted(stored)
    for name, tensor in stored.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        found[name].zero_()  # one's own, to change at will
    assert same(cache.get(key), stored)


def test_what_autograd_and_batches_leave_is_stored_as_values(cache: BankCache) -> None:
    batch = torch.randn(4, 3, requires_grad=True)
    stored = {"first": batch[0], "second": batch[1], "again": batch[0], "back": (batch * 1j).conj()}
    cache.put(content_key(1), stored)
    found = cache.get(content_key(1))
    assert found is not None
    assert not any(tensor.requires_grad or tensor.is_conj() for tensor in found.values())
    assert all(torch.equal(found[name], tensor) for name, tensor in stored.items())


def test_a_key_has_one_file_and_the_last_tensors(cache: BankCache) -> None:
    key = content_key("layer", 1)
    assert cache.get(key) is None
    cache.put(key, entry(1))
    cache.put(key, entry(2))
    assert same(cache.get(key), entry(2))
    assert files(cache) == [place(cache, key)]
    assert same(BankCache(cache.folder).get(key), entry(2))


@pytest.mark.parametrize("key", ["", "../../x", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_only_content_keys_name_files(cache: BankCache, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        cache.get(key)
    with pytest.raises(ValueError, match="is not a key"):
        cache.put(key, {})


def test_a_type_safetensors_lacks_is_refused(cache: BankCache) -> None:
    with pytest.raises(ValueError, match="safetensors cannot hold"):
        cache.put(content_key(1), {"x": torch.zeros(2, dtype=torch.complex128)})
    assert not cache.folder.exists()


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEANFRONT_CACHE", str(tmp_path))
    assert BankCache().folder == tmp_path / "bank"
    monkeypatch.delenv("LEANFRONT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert BankCache().folder == tmp_path / "x" / "leanfront" / "bank"


# Damage.


def test_no_flipped_bit_gives_wrong_tensors(cache: BankCache) -> None:
    key = content_key("flips")
    stored = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}
    cache.put(key, stored)
    whole = place(cache, key).read_bytes()
    missed = 0
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        place(cache, key).write_bytes(damaged)
        found = cache.get(key)
        if found is None:
            assert not place(cache, key).exists(), f"bit {bit}"
        else:
            # White space that pads the header has other forms.
            missed += 1
            assert same(found, stored), f"bit {bit}"
    assert missed <= 3 * 8


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, -1])
def test_a_truncated_file_is_removed(cache: BankCache, length: int) -> None:
    key = content_key("truncated")
    cache.put(key, entry(1))
    path = place(cache, key)
    path.write_bytes(path.read_bytes()[:length])
    assert cache.get(key) is None
    assert not path.exists()
    cache.put(key, entry(1))
    assert same(cache.get(key), entry(1))


@pytest.mark.parametrize(
    "content",
    [
        b"not at all",
        bytes(5000),
        b"\xff" * 5000,
        b"\x02" + bytes(7) + b"{}",
        b"\x02" + bytes(7) + b"[]",
        b"\x14" + bytes(7) + b'{"__metadata__":null}'[:20],
        (20_000).to_bytes(8, "little") + b"[" * 20_000,
    ],
)
def test_what_is_no_entry_is_removed(cache: BankCache, content: bytes) -> None:
    key = content_key("strange")
    place(cache, key).parent.mkdir(parents=True)
    place(cache, key).write_bytes(content)
    assert cache.get(key) is None
    assert files(cache) == []


def test_a_longer_file_and_another_keys_file_are_removed(cache: BankCache) -> None:
    one, other = content_key("one"), content_key("other")
    cache.put(one, entry(1))
    content = place(cache, one).read_bytes()
    place(cache, other).parent.mkdir(exist_ok=True)
    place(cache, other).write_bytes(content)
    place(cache, one).write_bytes(content + b"\0")
    assert cache.get(one) is None
    assert cache.get(other) is None
    assert files(cache) == []


# Size.


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = BankCache(tmp_path, 100_000)
    keys = [content_key(number) for number in range(9)]
    for age, key in enumerate(keys):
        cache.put(key, {"x": torch.zeros(10_000, dtype=torch.uint8)})
        moment = time.time() - 3600 + age
        os.utime(place(cache, key), (moment, moment))
    assert len(files(cache)) == 9
    assert cache.get(keys[0]) is not None  # used again: now the youngest
    last = content_key("last")
    cache.put(last, {"x": torch.zeros(10_000, dtype=torch.uint8)})
    left = {key for key in [*keys, last] if place(cache, key).exists()}
    # Ten files of 10,000 bytes and a header are too many; nine tenths of the limit hold eight.
    assert left == {keys[0], *keys[3:], last}
    assert size(cache) <= 90_000


def test_a_folder_stays_within_its_limit(cache: BankCache) -> None:
    largest = 0
    for number in range(200):
        cache.put(content_key(number), entry(number))
        largest = max(largest, size(cache))
        assert same(cache.get(content_key(number)), entry(number))
    assert 0.8 * LIMIT < largest <= LIMIT


def test_a_new_process_counts_what_is_there(cache: BankCache) -> None:
    for number in range(20):
        cache.put(content_key(number), entry(number))
    smaller = BankCache(cache.folder, 100_000)
    smaller.put(content_key("new"), entry(0))
    assert size(cache) <= 90_000
    assert same(smaller.get(content_key("new")), entry(0))


def test_the_folder_is_not_walked_at_every_put(cache: BankCache) -> None:
    cache.put(content_key("first"), {"x": torch.zeros(1)})
    # A walk would remove it.
    abandoned = cache.folder / ".tmp-old"
    abandoned.touch()
    os.utime(abandoned, (0, 0))
    for number in range(50):
        cache.put(content_key(number), {"x": torch.zeros(1)})
    assert abandoned.exists()
    cache.put(content_key("more than a 32nd of the limit"), entry(20))
    assert not abandoned.exists()


def test_an_entry_beyond_the_limit_is_not_kept_and_evicts_nothing(cache: BankCache) -> None:
    cache.put(content_key("small"), entry(0))
    cache.put(content_key("large"), {"x": torch.zeros(LIMIT, dtype=torch.uint8)})
    assert cache.get(content_key("large")) is None
    assert same(cache.get(content_key("small")), entry(0))


def test_strange_files_are_left_alone_and_abandoned_ones_removed(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    own = [tmp_path / "photo.safetensors", tmp_path / "ab" / "photo.safetensors", tmp_path / ".tmp-young"]
    abandoned = tmp_path / ".tmp-old"
    for path in [*own, abandoned]:
        path.write_bytes(bytes(50_000))
    for path in [*own[:2], abandoned]:
        moment = time.time() - 25 * 3600
        os.utime(path, (moment, moment))
    cache = BankCache(tmp_path, 50_000)
    for number in range(10):
        cache.put(content_key(number), entry(4))
    assert all(path.exists() for path in own)
    assert not abandoned.exists()


# Folders that cannot be written.


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """A folder that may be read and not written: the superuser may always, so it turns into somebody else."""
    was = os.geteuid()
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)


def test_a_read_only_folder_is_read_and_warned_of_once() -> None:
    # Not pytest's folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp())
    try:
        BankCache(folder).put(content_key(1), entry(1))
        damaged = place(BankCache(folder), content_key(2))
        damaged.parent.mkdir()
        damaged.write_bytes(b"damaged")
        cache = BankCache(folder)
        with nobody(folder):
            assert same(cache.get(content_key(1)), entry(1))
            with pytest.warns(RuntimeWarning, match=r"cannot write to the cache .*are not kept") as caught:
                cache.put(content_key(3), entry(3))
            assert caught[0].filename == __file__
            cache.put(content_key(4), entry(4))  # a second warning would be an error here
            assert cache.get(content_key(2)) is None
            assert cache.get(content_key(3)) is None
        assert len(files(cache)) == 2
    finally:
        shutil.rmtree(folder)


def test_an_entry_that_cannot_be_replaced_is_there_already() -> None:
    # What Windows does while another process reads the entry, a folder of others' does here.
    folder = Path(tempfile.mkdtemp())
    try:
        cache = BankCache(folder)
        cache.put(content_key(1), entry(1))
        with nobody(folder):
            os.seteuid(os.getuid())
            folder.chmod(0o777)
            if os.getuid() == 0:
                os.seteuid(65534)
            cache.put(content_key(1), entry(1))
            assert same(cache.get(content_key(1)), entry(1))
        assert files(cache) == [place(cache, content_key(1))]
    finally:
        shutil.rmtree(folder)


def test_a_full_disk_leaves_nothing_half_written(cache: BankCache) -> None:
    cache.put(content_key(0), entry(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Writing beyond it fails half-way, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        with pytest.warns(RuntimeWarning, match="the disk has space"):
            cache.put(content_key(40), entry(40))
        cache.put(content_key(39), entry(39))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(cache) == [place(cache, content_key(0))]
    assert same(cache.get(content_key(0)), entry(0))


def test_a_file_in_the_folders_place_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = BankCache(tmp_path / "file")
    with pytest.warns(RuntimeWarning, match="cannot write"):
        cache.put(content_key(1), entry(1))
    assert cache.get(content_key(1)) is None


# Processes.


def hammer(folder: str, seed: int, count: int) -> None:
    """Read and write entries drawn from sixty, more than the limit holds, and damage one file in fifty.

    Prints how many were found, how many were absent, and how many were damaged by it.
    """
    draw = random.Random(seed)
    cache = BankCache(Path(folder), LIMIT)
    hits = misses = damaged = 0
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        number = draw.randrange(60)
        key = content_key(number)
        found = cache.get(key)
        if found is None:
            misses += 1
            cache.put(key, entry(number))
        else:
            assert same(found, entry(number)), f"entry {number} is wrong"
            hits += 1
        if draw.random() < 0.02:
            try:
                with open(place(cache, content_key(draw.randrange(60))), "r+b") as file:
                    file.seek(draw.randrange(4000))
                    file.write(b"damage" if draw.random() < 0.5 else b"")
                    file.truncate()
                    damaged += 1
            except FileNotFoundError:
                pass
    print(hits, misses, damaged, flush=True)


@contextmanager
def hammering(folder: Path, seed: int, count: int) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready to hammer, and waits for a line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", __file__, str(folder), str(seed), str(count)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def start(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        assert cast("IO[str]", process.stdout).readline() == "ready\n", process.communicate()[1]
    for process in processes:
        into = cast("IO[str]", process.stdin)
        into.write("\n")
        into.flush()


def test_an_entry_is_there_while_it_is_written_anew(cache: BankCache) -> None:
    key, stored = content_key("again"), {"x": torch.zeros(LIMIT // 2, dtype=torch.uint8)}
    cache.put(key, stored)
    done = threading.Event()

    def write() -> None:
        own = BankCache(cache.folder, LIMIT)
        while not done.is_set():
            own.put(key, stored)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        absent = sum(cache.get(key) is None for _ in range(300))
    finally:
        done.set()
        writer.join()
    assert absent == 0


@pytest.mark.slow
def test_processes_write_evict_and_damage_at_once(cache: BankCache) -> None:
    with (
        hammering(cache.folder, 1, 400) as one,
        hammering(cache.folder, 2, 400) as two,
        hammering(cache.folder, 3, 400) as three,
        hammering(cache.folder, 4, 10**9) as killed,
    ):
        start(one, two, three, killed)
        deadline = time.monotonic() + 60
        while size(cache) < LIMIT // 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert killed.poll() is None
        killed.kill()
        for process in (one, two, three):
            printed, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            hits, misses, damaged = map(int, printed.split())
            assert hits > 40
            assert misses > 40
            assert damaged > 0
    largest = max(sum(tensor.nbytes for tensor in entry(number).values()) for number in range(60)) + 500
    left = [path for path in files(cache) if not path.name.startswith(".tmp-")]
    assert (
        LIMIT // 2 < sum(path.stat().st_size for path in left) <= LIMIT + PROCESSES * (LIMIT // 32 + largest)
    )
    # At most the killed one's.
    assert len(files(cache)) - len(left) <= 1
    for number in range(60):
        found = cache.get(content_key(number))
        assert found is None or same(found, entry(number))
    with warnings.catch_warnings(action="error"):
        cache.put(content_key("after"), entry(0))
    assert same(cache.get(content_key("after")), entry(0))
    assert size(cache) <= LIMIT


if __name__ == "__main__":
    hammer(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
