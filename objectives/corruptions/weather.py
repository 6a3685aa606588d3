"""Weather: snow, frost, fog, brightness, and water or mud on the lens."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, correlate, distance_transform_edt, uniform_filter

from leanfront.core.objectives.corruptions.blur import moved, smooth, zoomed
from leanfront.core.objectives.corruptions.colour import as_many, as_rgb, grey
from leanfront.core.objectives.corruptions.corruption import Generators, Images

ICE = np.array([0.80, 0.92, 1.0], dtype=np.float32)[:, None, None]
WATER = np.array([175, 238, 238], dtype=np.float32)[:, None, None] / 255
MUD = np.array([63, 42, 20], dtype=np.float32)[:, None, None] / 255
FARTHEST = 20
"""Distance in pixels from the edge of a drop at which its thickness stops growing."""
RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
"""Kernel that lights drops from one corner."""


def plasma(generators: Generators, h: int, w: int, decay: float) -> NDArray[np.float64]:
    """Make a fractal height map per generator with the diamond-square algorithm on a torus.

    Args:
        generators: n random generators.
        h, w: size in pixels; the map is cropped from the next larger square with a power of two as its side.
        decay: factor by which the roughness falls from one scale to the next finer one.

    Returns:
        (n, h, w) in [0, 1].
    """
    side = 1 << (max(h, w) - 1).bit_length()
    drawn = np.stack([generator.uniform(-1, 1, side * side - 1) for generator in generators])
    field = np.zeros((len(drawn), side, side))
    used, step, rough = 0, side, 100.0

    def mean(total: NDArray[np.float64]) -> NDArray[np.float64]:
        nonlocal used
        part = drawn[:, used : used + total[0].size].reshape(total.shape)
        used += total[0].size
        return total / 4 + rough * rough * part

    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        field[:, half::step, half::step] = mean(pairs + np.roll(pairs, -1, axis=2))
        centres, corners = field[:, half::step, half::step], field[:, ::step, ::step]
        across = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        down = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        field[:, ::step, half::step] = mean(across)
        field[:, half::step, ::step] = mean(down)
        step, rough = half, rough / decay
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return field[:, :h, :w]


def fog(pixels: Images, parameters: tuple[float, float], generators: Generators) -> NDArray[Any]:
    """Add a height map to the image, and scale back to the image's brightest value."""
    thickness, decay = parameters
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    h, w = pixels.shape[2:]
    mist = plasma(generators, h, w, decay)[:, None]
    made: NDArray[Any] = (pixels + thickness * mist) * brightest / (brightest + thickness)
    return made


def frost(pixels: Images, parameters: tuple[float, float], generators: Generators) -> NDArray[Any]:
    """Add image and ice, both weighted. The ice is procedural: bright bluish veins, coarse and fine."""
    kept, ice = parameters
    h, w = pixels.shape[2:]
    # The contour of a height map at one half branches like ice.
    coarse, fine = (1 - np.abs(2 * plasma(generators, h, w, decay) - 1) for decay in (1.9, 1.4))
    veins = (0.6 * coarse**3 + 0.4 * fine**2)[:, None]
    channels = pixels.shape[1]
    return as_many(kept * as_rgb(pixels) + ice * veins * ICE, channels)


def snow(pixels: Images, parameters: tuple[float, ...], generators: Generators) -> NDArray[Any]:
    """Whiten the image, and add flakes blurred along one direction, and their copy rotated by 180 degrees."""
    mean, deviation, size, least, radius, blur, kept = parameters
    h, w = pixels.shape[2:]
    drawn = np.stack([generator.normal(mean, deviation, (1, h, w)) for generator in generators])
    flakes = zoomed(drawn, size)
    flakes = np.clip(np.where(flakes < least, np.float32(0), flakes), 0, 1)
    angles = [generator.uniform(-135, -45) for generator in generators]
    flakes = moved(flakes, int(radius), blur, angles)
    whitened = kept * pixels + (1 - kept) * np.maximum(pixels, grey(pixels) * 1.5 + 0.5)
    made: NDArray[Any] = whitened + flakes + flakes[:, :, ::-1, ::-1]
    return made


def brightness(pixels: Images, amount: float, generators: Generators) -> Images:
    """Raise the HSV value by the amount, up to 1; hue and saturation stay."""
    value = pixels.max(axis=1, keepdims=True)
    raised = np.minimum(value + np.float32(amount), 1)
    # With hue and saturation fixed, a colour is proportional to its value. Black has no hue and turns grey.
    scaled: Images = np.where(value > 0, pixels * (raised / np.maximum(value, 1e-12)), raised)
    return scaled


def spatter(pixels: Images, parameters: tuple[float, ...], generators: Generators) -> NDArray[Any]:
    """Add drops of water, lit from one side, or opaque mud."""
    mean, deviation, size, least, strength, muddy = parameters
    channels, h, w = pixels.shape[1:]
    drawn = np.stack([generator.normal(mean, deviation, (h, w)) for generator in generators])
    liquid = smooth(drawn, size)
    liquid[liquid < least] = 0
    if muddy:
        cover = smooth((liquid > least).astype(np.float32), strength)[:, None]
        cover[cover < 0.8] = 0
        return as_many(as_rgb(pixels) * (1 - cover) + MUD * cover, channels)
    drops = np.stack([_lit(np.floor(np.clip(each, 0, 1) * 255)) for each in liquid])[:, None]
    return as_many(as_rgb(pixels) + strength * drops * WATER, channels)


def _lit(liquid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the light reflected by a layer of drops: (h, w) in 0..255 -> (h, w) with a maximum of 1."""
    inside = liquid > 0
    if not inside.any():
        return np.zeros_like(liquid)
    edges = inside & ~binary_erosion(inside, np.ones((3, 3)), border_value=1)
    if edges.any():
        depth = np.minimum(distance_transform_edt(~edges), FARTHEST)
    else:
        depth = np.full(liquid.shape, float(FARTHEST))
    depth = _equalised(np.floor(uniform_filter(depth, 3, mode="mirror")).astype(int))
    depth = np.clip(correlate(depth, RELIEF, mode="mirror"), 0, 255)
    shine: NDArray[np.float64] = liquid * uniform_filter(depth, 3, mode="mirror")
    return shine / max(float(shine.max()), 1e-12)


def _equalised(levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Equalise the histogram of levels 0..255; a single level stays."""
    counts = np.bincount(levels.ravel(), minlength=256)
    lowest = int(levels.min())
    others = levels.size - counts[lowest]
    if others == 0:
        return levels.astype(float)
    below = np.cumsum(counts) - counts[lowest]
    spread: NDArray[np.float64] = np.rint(below * 255 / others)[levels]
    return spread
