"""Blurs: defocus, frosted glass, motion, zoom, Gaussian."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from leanfront.core.objectives.corruptions.corruption import Generators, Images


def smooth(images: NDArray[Any], deviation: float) -> NDArray[Any]:
    """Apply a Gaussian filter over h and w of (n, ..., h, w), cut at 4 deviations; border values are repeated."""
    axes = (0.0,) * (images.ndim - 2)
    filtered: NDArray[Any] = gaussian_filter(images, (*axes, deviation, deviation), mode="nearest")
    return filtered


def gaussian_blur(pixels: Images, deviation: float, generators: Generators) -> Images:
    """Apply `smooth`."""
    return smooth(pixels, deviation)


def disk(radius: float, alias_blur: float) -> NDArray[np.float64]:
    """Return the kernel of a defocused lens: a disk of this radius in pixels with a softened edge and sum 1."""
    reach = math.floor(radius)
    taps = 3 if radius <= 8 else 5
    line = np.arange(-reach, reach + 1)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    soft = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * alias_blur**2))
    kernel: NDArray[np.float64] = fftconvolve(inside, np.outer(soft, soft))
    kernel /= kernel.sum()
    return kernel


def defocus_blur(pixels: Images, parameters: tuple[float, float], generators: Generators) -> NDArray[Any]:
    """Convolve with a `disk`; the image is mirrored at its border without repeating the border pixels."""
    kernel = disk(*parameters)
    reach = len(kernel) // 2
    around = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    # In float64, so that the transform's rounding, which depends on the machine, changes no level.
    padded = np.pad(pixels.astype(np.float64), around, mode="reflect")
    made: NDArray[np.float64] = fftconvolve(padded, kernel[None, None], mode="valid", axes=(2, 3))
    return made


def glass_blur(pixels: Images, parameters: tuple[float, int, int], generators: Generators) -> Images:
    """Smooth, replace pixels by nearby ones (see `displaced`), and smooth again."""
    deviation, reach, rounds = parameters
    n, c, h, w = pixels.shape
    flat = smooth(pixels, deviation).reshape(n, c, h * w)
    rows, columns = h - 2 * reach, w - 2 * reach
    offsets = np.stack([each.integers(-reach, reach, (rounds, rows, columns, 2)) for each in generators])
    for turn in range(rounds):
        source = displaced(offsets[:, turn], h, w, reach)
        flat = np.take_along_axis(flat, source[:, None, :], axis=2)
    return smooth(flat.reshape(n, c, h, w), deviation).astype(np.float32)


def displaced(offsets: NDArray[np.int64], h: int, w: int, reach: int) -> NDArray[np.int64]:
    """Compute the source of every pixel's new value after one pass over the image.

    The pass goes over rows reach + 1 to h - reach and the same columns, from last to first, and sets each pixel to
    the current value of the pixel at its offset. The published code intends to swap the two pixels, but for colour
    images it copies: the second assignment reads the result of the first.

    Args:
        offsets: (n, h - 2 reach, w - 2 reach, 2) offsets of rows and columns, at most reach.
        h, w: size in pixels.
        reach: largest offset.

    Returns:
        int64 (n, h w), indices into the pixels before the pass.
    """
    index = np.arange(h * w).reshape(h, w)
    walked = (slice(reach + 1, h - reach + 1), slice(reach + 1, w - reach + 1))
    visited = np.zeros((h, w), dtype=bool)
    visited[walked] = True
    source = np.broadcast_to(index, (len(offsets), h, w)).copy()
    source[(slice(None), *walked)] += offsets[..., 0] * w + offsets[..., 1]
    source = source.reshape(len(offsets), -1)
    # A source later in the image was set before, so its value is that of its own source. Chains are followed by
    # doubling.
    final = (source <= index.reshape(-1)) | ~visited.reshape(-1)[source]
    while not final.all():
        before = final
        final = before | np.take_along_axis(before, source, axis=1)
        source = np.where(before, source, np.take_along_axis(source, source, axis=1))
    return source


def motion_blur(pixels: Images, parameters: tuple[int, float], generators: Generators) -> NDArray[Any]:
    """Apply `moved` at a random angle from -45 to 45 degrees."""
    return moved(pixels, *parameters, [generator.uniform(-45, 45) for generator in generators])


def moved(images: NDArray[Any], radius: int, deviation: float, angles: Iterable[float]) -> NDArray[Any]:
    """Apply a one-sided Gaussian trail of 2 radius + 1 pixels, as ImageMagick's motion blur does.

    Args:
        images: (n, c, h, w).
        radius: radius in pixels; the trail has 2 radius + 1.
        deviation: standard deviation of the Gaussian in pixels.
        angles: n angles in degrees.

    Returns:
        (n, c, h, w); edge values are repeated outside the image.

    Source:
        MotionBlurImage in ImageMagick's effect.c.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2)).astype(np.float32)
    weights /= weights.sum()
    reach = 2 * radius
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="edge")
    made = np.zeros_like(images)
    for index, angle in enumerate(np.deg2rad(list(angles))):
        tops = np.ceil(steps * np.sin(angle) - 0.5).astype(int) + reach
        lefts = np.ceil(steps * np.cos(angle) - 0.5).astype(int) + reach
        for weight, top, left in zip(weights, tops, lefts, strict=True):
            made[index] += weight * padded[index, :, top : top + height, left : left + width]
    return made


def zoom_blur(pixels: Images, zooms: tuple[float, ...], generators: Generators) -> NDArray[np.float64]:
    """Average the image and its enlargements by all zoom factors."""
    total = pixels.astype(np.float64)
    for factor in zooms:
        total += zoomed(pixels, factor)
    return total / (len(zooms) + 1)


def zoomed(images: NDArray[Any], factor: float) -> NDArray[np.float64]:
    """Enlarge the centre of images linearly to the whole size.

    As in the published code, sizes are whole pixels, so a factor that adds less than half a pixel has no effect.

    Args:
        images: (n, c, h, w).
        factor: at least 1.
    """
    down, across = (_zoom_matrix(side, factor) for side in images.shape[2:])
    # In float64, since the order of summation in a matrix product depends on the machine.
    made: NDArray[np.float64] = (down @ images.astype(np.float64)) @ across.T
    return made


def _zoom_matrix(side: int, factor: float) -> NDArray[np.float64]:
    """Return (side, side): linear interpolation as by scipy.ndimage.zoom on the cropped centre, trimmed evenly."""
    cut = math.ceil(side / factor)
    top = (side - cut) // 2
    enlarged = round(cut * factor)
    places = np.arange(side) + (enlarged - side) // 2
    positions = places * (cut - 1) / max(1, enlarged - 1)
    lower = np.minimum(positions.astype(int), cut - 1)
    upper = np.minimum(lower + 1, cut - 1)
    matrix = np.zeros((side, side))
    rows = np.arange(side)
    np.add.at(matrix, (rows, top + lower), 1 - (positions - lower))
    np.add.at(matrix, (rows, top + upper), positions - lower)
    return matrix
