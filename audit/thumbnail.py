"""Small images of samples for documents."""

from __future__ import annotations

import base64
import io

from PIL import Image
from torch import Tensor

LARGEST = 96
"""Largest pixels of the longer side of an image in a gallery."""


def png_address(image: Tensor, largest: int = LARGEST) -> str:
    """Encode an image uint8 (c, h, w) as ``data:image/png;base64,...``, with a longer side of at most `largest`."""
    array = image[:3].permute(1, 2, 0).numpy() if image.shape[0] >= 3 else image[0].numpy()
    shown = Image.fromarray(array)
    shown.thumbnail((largest, largest))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
