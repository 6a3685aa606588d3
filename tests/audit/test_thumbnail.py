"""Images in documents."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image

from leanfront.core.audit.thumbnail import LARGEST, png_address


def test_images_in_documents_are_small() -> None:
    for shape, mode in (((3, 200, 300), "RGB"), ((1, 300, 200), "L")):
        address = png_address(torch.randint(0, 256, shape, dtype=torch.uint8))
        image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert image.mode == mode
        assert max(image.size) == LARGEST
        assert (image.size[0] > image.size[1]) == (shape[2] > shape[1])
