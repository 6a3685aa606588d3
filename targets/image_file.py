"""Decoding of one image file, within limits."""

from __future__ import annotations

import io
import threading

from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
"""Formats that are decoded, whatever the file's name says. Others may be programs, as EPS is."""
MAX_PIXELS = 178_956_970
"""Default largest number of pixels of an image: where Pillow sees a decompression bomb."""
BYTES_PER_PIXEL = 16
"""Largest size of a file in bytes, by the largest number of pixels: four channels of 32 bits, uncompressed."""
_LOCK = threading.Lock()


class ImageTooLargeError(ValueError):
    """An image has more pixels, or its file more bytes, than the limit allows."""


def decode(content: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an image as RGB.

    Args:
        content: content of the file.
        max_pixels: largest number of pixels.

    Raises:
        ImageTooLargeError: it has more pixels.
        Exception: whatever a decoder raises about a file that is damaged or of another format.
    """
    with _opened(content, max_pixels) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width:,} x {height:,} pixels", max_pixels)
        return image.convert("RGB")


def require_size(size: int, max_pixels: int) -> None:
    """Refuse a file before it is read or unpacked. Raises `ImageTooLargeError`."""
    if size > max(BYTES_PER_PIXEL * max_pixels, 1024**2):
        raise _too_large(f"{size:,} bytes", max_pixels)


def _too_large(found: str, max_pixels: int) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"it has {found}, which may be a decompression bomb; max_pixels={max_pixels} is the largest number of pixels "
        "of an image, and max_pixels=N raises it"
    )


def _opened(content: bytes, max_pixels: int) -> Image.Image:
    file = io.BytesIO(content)
    Image.init()  # formats are asked for that Pillow loads late
    formats = [each for each in FORMATS if each in Image.OPEN]
    try:
        if max_pixels <= MAX_PIXELS:
            return Image.open(file, formats=formats)
        # Pillow's own limit holds for the whole process; it is lifted while one header is read.
        with _LOCK:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return Image.open(file, formats=formats)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(str(error).partition(",")[0], max_pixels) from error
    except UnidentifiedImageError as error:
        # Pillow's text names an object in memory.
        raise ValueError(f"its content is none of {', '.join(FORMATS)}") from error
