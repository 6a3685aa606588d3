"""Fixtures of this room's tests."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

WriteTree = Callable[..., Path]


def _write_tree(folder: Path, splits: tuple[str, ...] = ("train", "validation"), per_class: int = 3) -> Path:
    """Random images of three classes, one of them in folders within its folder and of several formats."""
    random = np.random.default_rng(0)
    for split in splits:
        for label in ("Zebra", "ant", "bee"):
            for number in range(per_class):
                inner = folder / split / label / ("deep" if label == "bee" and number else "")
                inner.mkdir(parents=True, exist_ok=True)
                suffix = ("png", "jpg", "BMP")[number % 3]
                pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(inner / f"{10 - number}.{suffix}")
        (folder / split / "ant" / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def write_tree() -> WriteTree:
    """`_write_tree`: writes a tree of images and returns its folder."""
    return _write_tree


@pytest.fixture
def fvcore_count() -> Callable[[nn.Module, Tensor], tuple[int, Counter[str]]]:
    """(total multiply-adds, unsupported operators) by fvcore."""

    def count(module: nn.Module, inputs: Tensor) -> tuple[int, Counter[str]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fvcore scripts and traces, which PyTorch deprecates
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(module, inputs)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            return int(analysis.total()), analysis.unsupported_ops()

    return count
