"""What models answer, kept on disk: each model's logits on some images are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from leanfront.core.compressors.statistics.cache import BankCache, content_key
from leanfront.core.targets.weights_cache import cache_folder

VERSION = 1
LIMIT = 4 * 1024**3
"""Bytes on disk."""


class Answers:
    """A cache of logits by what they are the logits of.

    They are kept as float16 less each sample's largest, so that what is close to the top keeps its digits: softmax,
    and so every statistic of it, is that of the logits up to 5e-4 of their distances, and the first answer is the
    same. Where it would not be, they are kept as float32.

    Args:
        folder: of the cache; the user's own by default.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._cache = BankCache(cache_folder() / "answers" if folder is None else folder, LIMIT)

    @property
    def folder(self) -> Path:
        """Where they are kept."""
        return self._cache.folder

    def get(self, *key: str | int) -> Tensor | None:
        """(N, C) float32, or None where they are not kept."""
        found = self._cache.get(_key(*key))
        return None if found is None else found["logits"].float()

    def put(self, logits: Tensor, *key: str | int) -> Tensor:
        """Keep logits (N, C); what `get` will give for them."""
        packed = compact(logits)
        self._cache.put(_key(*key), {"logits": packed})
        return packed.float()

    def recall(self, make: Callable[[], Tensor], *key: str | int) -> Tensor:
        """Kept logits, or those that are made now and kept."""
        found = self.get(*key)
        return found if found is not None else self.put(make(), *key)


def compact(logits: Tensor) -> Tensor:
    """Logits (N, C) as they are kept: float16, or float32 where float16 would change a first answer."""
    exact = logits.detach().float().cpu()
    shifted = exact - exact.max(dim=1, keepdim=True).values
    half = shifted.half()
    same = bool((half.float().argmax(1) == exact.argmax(1)).all()) and bool(torch.isfinite(half).all())
    return half if same else exact


def _key(*parts: str | int) -> str:
    return content_key("audit answers", VERSION, torch.__version__, tuple(parts))
