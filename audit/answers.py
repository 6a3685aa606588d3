"""Cache of models' answers on disk: the logits of a model on some images are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.cache import BankCache, content_key
from leanfront.core.targets.weights_cache import cache_folder

VERSION = 1
LIMIT = 4 * 1024**3
"""Largest size of the cache on disk, bytes."""


class Answers:
    """Cache of logits, by a key that names the model and the images.

    Logits are kept as float16 after subtracting the largest of each sample, so that those close to the top keep
    their digits: the softmax is exact up to 5e-4 of the distances between logits, and the first answer is the same.
    If it would differ, the logits are kept as float32.

    Args:
        folder: folder of the cache; by default the user's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._cache = BankCache(cache_folder() / "answers" if folder is None else folder, LIMIT)

    @property
    def folder(self) -> Path:
        """Folder of the cache."""
        return self._cache.folder

    def get(self, *key: str | int) -> Tensor | None:
        """Return cached logits (N, C) float32, or None if they are not cached."""
        found = self._cache.get(_key(*key))
        return None if found is None else found["logits"].float()

    def put(self, logits: Tensor, *key: str | int) -> Tensor:
        """Cache logits (N, C), and return what `get` will return for them."""
        packed = compact(logits)
        self._cache.put(_key(*key), {"logits": packed})
        return packed.float()

    def recall(self, make: Callable[[], Tensor], *key: str | int) -> Tensor:
        """Return cached logits, or make and cache them."""
        found = self.get(*key)
        return found if found is not None else self.put(make(), *key)


def compact(logits: Tensor) -> Tensor:
    """Compact logits (N, C) for the cache: float16, or float32 if float16 would change a first answer."""
    exact = logits.detach().float().cpu()
    shifted = exact - exact.max(dim=1, keepdim=True).values
    half = shifted.half()
    same = bool((half.float().argmax(1) == exact.argmax(1)).all()) and bool(torch.isfinite(half).all())
    return half if same else exact


def _key(*parts: str | int) -> str:
    return content_key("audit answers", VERSION, torch.__version__, tuple(parts))
