"""Conversion between grey and colour images, for corruptions that are defined on colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""


def as_rgb(images: NDArray[Any]) -> NDArray[Any]:
    """Convert (n, 1 or 3, h, w) to (n, 3, h, w)."""
    return np.broadcast_to(images, (len(images), 3, *images.shape[2:]))


def grey(images: NDArray[Any]) -> NDArray[Any]:
    """Convert (n, 1 or 3, h, w) to (n, 1, h, w)."""
    if images.shape[1] == 1:
        return images
    weighted: NDArray[Any] = (images * LUMA[:, None, None]).sum(axis=1, keepdims=True)
    return weighted


def as_many(images: NDArray[Any], channels: int) -> NDArray[Any]:
    """Convert (n, 3, h, w) to (n, channels, h, w): unchanged or grey."""
    return images if channels == 3 else grey(images)
