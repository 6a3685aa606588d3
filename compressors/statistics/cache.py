"""Disk cache of the layer bank's solutions: files named by content hash, checked when read, bounded in size."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from leanfront.core.targets.weights_cache import cache_folder

KeyPart: TypeAlias = "Tensor | str | bool | int | float | tuple[KeyPart, ...] | None"
"""Values that a key can be made of."""

_KEY = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_FILE = re.compile(r"[0-9a-f]{62}\.safetensors")
_TEMPORARY = ".tmp-"
_ABANDONED = 24 * 3600.0
"""Seconds after which a temporary file counts as left by a dead process."""


def content_key(*parts: KeyPart) -> str:
    """Return the SHA-256 of values, 64 hexadecimal digits; equal only for equal values of equal types.

    Tensors are hashed by dtype, shape and bytes, on any device; 1, 1.0 and True differ.

    Raises:
        TypeError: a part is of another type.
    """
    hasher = hashlib.sha256()
    _feed(hasher, parts)
    return hasher.hexdigest()


def _feed(hasher: hashlib._Hash, part: KeyPart) -> None:
    # A letter and a length before every part: no two sequences of parts give the same bytes.
    if isinstance(part, tuple):
        hasher.update(b"t" + struct.pack("<Q", len(part)))
        for each in part:
            _feed(hasher, each)
    elif isinstance(part, Tensor):
        hasher.update(b"T")
        _feed(hasher, str(part.dtype))
        _feed(hasher, tuple(part.shape))
        # Type and shape give the length.
        hasher.update(_packed(part).reshape(-1).view(torch.uint8).numpy().data)
    else:
        kind, content = _encoded(part)
        hasher.update(kind + struct.pack("<Q", len(content)) + content)


def _encoded(part: str | int | float | None) -> tuple[bytes, bytes]:
    if part is None:
        return b"n", b""
    if isinstance(part, bool):
        return b"b", b"1" if part else b"0"
    if isinstance(part, int):
        return b"i", f"{part:x}".encode()
    if isinstance(part, float):
        return b"f", struct.pack("<d", part)
    if isinstance(part, str):
        return b"s", part.encode("utf-8", "surrogatepass")
    raise TypeError(f"a key cannot be made of {type(part).__name__}: {part!r}")


def _packed(tensor: Tensor) -> Tensor:
    """Return the values, contiguous on the CPU."""
    return tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()


class BankCache:
    """A folder of named tensors under content keys, which several processes may use and die in at any time.

    Entries that cannot be written are not kept, damaged entries count as absent, and the least recently used
    entries are removed when the folder exceeds its limit. Each process notices writes of others late, and may
    therefore exceed the limit by a 32nd of it and one entry.

    Args:
        folder: the folder, created at the first `put`; default: ``bank`` in the user's cache (``LEANFRONT_CACHE``,
            ``$XDG_CACHE_HOME/leanfront``, ``~/.cache/leanfront``).
        limit: maximum size of all files together, in bytes.
    """

    def __init__(self, folder: Path | None = None, limit: int = 2 * 1024**3) -> None:
        self.folder = cache_folder() / "bank" if folder is None else Path(folder)
        self.limit = limit
        self._writable = True
        # Bytes this process may write before it looks at the folder again; none before its first look.
        self._room = 0

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of a key, on the CPU, and mark them as used; None if absent.

        A damaged file counts as absent, and is removed.

        Raises:
            ValueError: the key was not made by `content_key`.
        """
        place = self._place(key)
        try:
            content = place.read_bytes()
        except OSError:
            return None
        tensors = _unpack(key, content)
        with suppress(OSError):
            if tensors is None:
                place.unlink()
            else:
                os.utime(place)
        return tensors

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store tensors under a key, all or nothing; an entry of more than nine tenths of the limit is not stored.

        If the folder cannot be written (read-only, disk full), one warning is issued and nothing more is stored.

        Raises:
            ValueError: the key was not made by `content_key`, or safetensors cannot hold a tensor's dtype.
        """
        place = self._place(key)
        if not self._writable:
            return
        content = _pack(key, tensors)
        if len(content) > self._lowered:
            return
        try:
            self._write(place, content)
            self._room -= len(content)
            if self._room < 0:
                self._trim()
        except OSError as error:
            self._writable = False
            warnings.warn(
                f"cannot write to the cache {self.folder}: {error}; solutions are not kept. "
                "Check that the folder is writable and the disk has space, or set LEANFRONT_CACHE",
                RuntimeWarning,
                stacklevel=2,
            )

    @property
    def _lowered(self) -> int:
        """Bytes that are left after an eviction: fewer than the limit, so that evictions are rare."""
        return self.limit * 9 // 10

    def _place(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key: a key has 64 hexadecimal digits in lower case")
        return self.folder / key[:2] / f"{key[2:]}.safetensors"

    def _write(self, place: Path, content: bytes) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            # Not synced to the disk: a file damaged by a power cut fails its digest.
            temporary.write_bytes(content)
            try:
                os.replace(temporary, place)
            except PermissionError:
                # Windows refuses while another process reads the same entry: then it is there already.
                if not place.exists():
                    raise
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _trim(self) -> None:
        """Bring the folder under its limit, and remove temporary files of dead processes."""
        for path, status in _files(self.folder):
            if path.name.startswith(_TEMPORARY) and status.st_mtime < time.time() - _ABANDONED:
                with suppress(OSError):
                    path.unlink()
        entries = [
            (status.st_mtime_ns, status.st_size, path)
            for folder in _folders(self.folder)
            for path, status in _files(folder)
            if _FILE.fullmatch(path.name)
        ]
        total = sum(size for _, size, _ in entries)
        if total > self.limit:
            for _, size, path in sorted(entries):
                if total <= self._lowered:
                    break
                # A file that another process evicted counts as evicted; one that is open on Windows stays.
                with suppress(PermissionError):
                    path.unlink(missing_ok=True)
                    total -= size
        self._room = max(0, min(self.limit - total, self.limit // 32))


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry) for entry in entries if _FOLDER.fullmatch(entry.name) and entry.is_dir()]


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the files of a folder that still exist."""
    with os.scandir(folder) as entries:
        for entry in entries:
            # Other processes may remove files meanwhile.
            with suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False):
                    # Not the entry's own status: on Windows it may be older than the last use.
                    yield Path(entry), os.stat(entry)


def _digest(key: str, tensors: Mapping[str, Tensor]) -> str:
    return content_key(key, *sorted(tensors), *(tensors[name] for name in sorted(tensors)))


def _pack(key: str, tensors: Mapping[str, Tensor]) -> bytes:
    # Copied, since safetensors refuses views that share memory, as solutions of one batch do.
    own = {name: _packed(tensor).clone() for name, tensor in tensors.items()}
    try:
        return safetensors.torch.save(own, {"digest": _digest(key, own)})
    except (KeyError, SafetensorError) as error:
        raise ValueError(f"safetensors cannot hold these tensors: {error}") from None


def _unpack(key: str, content: bytes) -> dict[str, Tensor] | None:
    """Return the tensors of a file, or None if they are not those written under the key."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        expected = header["__metadata__"]["digest"]
        tensors = safetensors.torch.load(content)
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError, AssertionError):
        # Errors of the two parsers for damaged headers.
        return None
    return tensors if _digest(key, tensors) == expected else None
