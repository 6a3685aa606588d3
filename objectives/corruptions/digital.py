"""Digital corruptions: contrast, saturation, pixelation, JPEG compression, elastic deformation."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from leanfront.core.objectives.corruptions.colour import as_many, as_rgb
from leanfront.core.objectives.corruptions.corruption import Generators, Images


def contrast(pixels: Images, factor: float, generators: Generators) -> Images:
    """Multiply the distance to each channel's mean by the factor."""
    mean = pixels.mean(axis=(2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    made: Images = (pixels - mean) * np.float32(factor) + mean
    return made


def saturate(pixels: Images, parameters: tuple[float, float], generators: Generators) -> Images:
    """Multiply the HSV saturation by a factor and add an amount. Grey has hue 0, red, as usual.

    Severities that only multiply leave grey images unchanged.
    """
    factor, amount = (np.float32(each) for each in parameters)
    colours = as_rgb(pixels)
    value = colours.max(axis=1, keepdims=True)
    chroma = value - colours.min(axis=1, keepdims=True)
    saturation = chroma / np.maximum(value, 1e-12)
    wanted = np.clip(saturation * factor + amount, 0, 1)
    # With hue and value fixed, the distance to the value is proportional to the saturation.
    away = (value - colours) / np.maximum(chroma, 1e-12)
    red = np.array([0, 1, 1], dtype=np.float32)[:, None, None]
    made = value * (1 - wanted * np.where(chroma > 0, away, red))
    return as_many(made, pixels.shape[1]).astype(np.float32)


def jpeg_compression(pixels: Images, quality: int, generators: Generators) -> Images:
    """Compress to JPEG with this quality in Pillow, and decompress."""

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _through_pillow(pixels, compressed)


def pixelate(pixels: Images, factor: float, generators: Generators) -> Images:
    """Scale down by the factor and up again, each time averaging over boxes."""

    def coarse(image: Image.Image) -> Image.Image:
        small = (max(1, int(image.width * factor)), max(1, int(image.height * factor)))
        return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return _through_pillow(pixels, coarse)


def _through_pillow(pixels: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    levels = np.rint(pixels * 255).astype(np.uint8)
    made = np.empty_like(levels)
    for index, image in enumerate(levels):
        if len(image) == 1:
            made[index, 0] = np.asarray(change(Image.fromarray(image[0])))
        else:
            made[index] = np.asarray(change(Image.fromarray(image.transpose(1, 2, 0).copy()))).transpose(
                2, 0, 1
            )
    return made.astype(np.float32) / np.float32(255)


def elastic_transform(
    pixels: Images, parameters: tuple[float, float, float], generators: Generators
) -> Images:
    """Apply a random affine map and a random smooth displacement of every pixel.

    Args:
        pixels: (n, c, h, w).
        parameters: strength of the displacement, deviation of its Gaussian smoothing, and largest movement of each of
            three points by the affine map, all relative to the image's shorter side.
        generators: n random generators.
    """
    h, w = pixels.shape[2:]
    strength, deviation, shift = (each * min(h, w) for each in parameters)
    rows, columns = np.indices((h, w)).astype(float)
    moves = np.stack([each.uniform(-shift, shift, (3, 2)) for each in generators])
    fields = np.stack([each.uniform(-1, 1, (2, h, w)) for each in generators])
    # As matrix products, since the filter may be several times as long as the image.
    down, across = (
        gaussian_filter(np.eye(side), (deviation, 0), mode="reflect", truncate=3) for side in (h, w)
    )
    fields = strength * (down @ fields @ across.T)
    made = np.empty_like(pixels)
    for index, (image, move, (right, low)) in enumerate(zip(pixels, moves, fields, strict=True)):
        places = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ _affine(h, w, move)
        for channel, values in enumerate(image):
            turned = map_coordinates(values, (places[..., 1], places[..., 0]), order=1, mode="mirror")
            made[index, channel] = map_coordinates(
                turned, (rows + low, columns + right), order=1, mode="reflect"
            )
    return made


def _affine(h: int, w: int, move: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (3, 2): the map from (x, y, 1) of the result to the image, if three points move by (3, 2) pixels."""
    centre, reach = np.array([w // 2, h // 2]), min(h, w) // 3
    points = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = np.column_stack([points + move, np.ones(3)])
    places: NDArray[np.float64] = np.linalg.solve(moved, points.astype(float))
    return places
