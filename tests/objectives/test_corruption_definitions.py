"""Each corruption against a closed form, another library, or its definition written out plainly."""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torchvision.transforms import functional

from leanfront.core.objectives.corruptions import CORRUPTIONS, corrupt
from leanfront.core.objectives.corruptions.blur import disk, displaced, moved, zoomed
from leanfront.core.objectives.corruptions.digital import _affine, elastic_transform
from leanfront.core.objectives.corruptions.weather import _equalised, plasma

LEVEL = 1 / 255
GREY = torch.full((40, 3, 32, 32), 0.5)


def images(n: int = 4, channels: int = 3, h: int = 32, w: int = 32, seed: int = 0) -> Tensor:
    """Smooth random images that fill [0, 1], rounded to levels."""
    random = np.random.default_rng(seed)
    made = ndimage.gaussian_filter(random.random((n, channels, h, w)), (0, 0, 1.5, 1.5), mode="wrap")
    made = (made - made.min()) / (made.max() - made.min())
    return torch.from_numpy(np.rint(made * 255).astype(np.float32) / np.float32(255))


def close(made: Tensor, expected: Any, levels: float = 0.51) -> None:
    """Equal up to the rounding to levels."""
    expected = torch.as_tensor(np.clip(np.asarray(expected), 0, 1)).float()
    torch.testing.assert_close(made, expected, rtol=0, atol=levels * LEVEL)


def parameter(name: str, severity: int, size: int = 32) -> Any:
    return CORRUPTIONS[name].parameters(severity, size, size)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_gaussian_noise_has_its_deviation(severity: int) -> None:
    noise = corrupt("gaussian_noise", GREY, severity, range(40)) - GREY
    deviation = parameter("gaussian_noise", severity)
    count = noise.numel()
    expected = math.sqrt(deviation**2 + LEVEL**2 / 12)
    assert abs(float(noise.mean())) < 5 * expected / math.sqrt(count) + 1e-4
    assert float(noise.std()) == pytest.approx(expected, abs=5 * expected / math.sqrt(2 * count))


def test_shot_and_speckle_noise_have_their_deviations() -> None:
    value = 0.5
    for name, deviation in (
        ("shot_noise", math.sqrt(value / parameter("shot_noise", 1))),
        ("speckle_noise", value * parameter("speckle_noise", 5)),
    ):
        noise = corrupt(name, GREY, 1 if name == "shot_noise" else 5, range(40)) - GREY
        assert float(noise.std()) == pytest.approx(deviation, rel=0.02)
        assert abs(float(noise.mean())) < 0.001
    # Nothing to count and nothing to speckle in the dark.
    for name in ("shot_noise", "speckle_noise"):
        assert not corrupt(name, torch.zeros(2, 1, 8, 8), 5, [0, 1]).any()


def test_impulse_noise_hits_its_share_by_halves() -> None:
    made = corrupt("impulse_noise", GREY, 5, range(40))
    share, count = parameter("impulse_noise", 5), GREY.numel()
    for value in (0, 1):
        found = float((made == value).sum()) / count
        assert found == pytest.approx(share / 2, abs=5 * math.sqrt(share / 2 / count))
    assert bool(((made == 0) | (made == 1) | (made == 128 / 255)).all())


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_gaussian_blur_is_torchvisions(severity: int) -> None:
    clean = images()
    deviation = parameter("gaussian_blur", severity)
    size = 2 * int(4 * deviation + 0.5) + 1
    expected = functional.gaussian_blur(clean, [size, size], [deviation, deviation])
    inside = slice(size, 32 - size)
    # torchvision mirrors the border, the definition repeats its edge.
    close(
        corrupt("gaussian_blur", clean, severity, range(4))[..., inside, inside],
        expected[..., inside, inside],
    )


def test_disk_is_even_and_softened() -> None:
    kernel = disk(3, 0.5)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-12)
    middle = len(kernel) // 2
    assert kernel[middle, middle] == pytest.approx(kernel[middle, middle + 1])
    assert 0 < kernel[middle, -1] < kernel[middle, middle] / 2
    # A disk of radius below one is a point: the softening alone is left.
    side = math.exp(-1 / (2 * 0.4**2))
    np.testing.assert_allclose(
        disk(0.3, 0.4), np.outer([side, 1, side], [side, 1, side]) / (1 + 2 * side) ** 2, atol=1e-12
    )


@pytest.mark.parametrize("size", [8, 32, 64])
@pytest.mark.parametrize("severity", [1, 4, 5])
def test_defocus_blur_is_a_filter_with_a_mirrored_border(size: int, severity: int) -> None:
    clean = images(2, h=size, w=size)
    kernel = disk(*parameter("defocus_blur", severity, size))
    expected = ndimage.correlate(clean.double().numpy(), kernel[None, None], mode="mirror")
    close(corrupt("defocus_blur", clean, severity, [0, 1]), expected)


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_displacement_is_the_walk_written_out(reach: int) -> None:
    h, w = 17, 12
    random = np.random.default_rng(reach)
    offsets = random.integers(-reach, reach, (5, h - 2 * reach, w - 2 * reach, 2))
    found = displaced(offsets, h, w, reach)
    for sample in range(5):
        values = np.arange(h * w).reshape(h, w).copy()
        for row in range(h - reach, reach, -1):
            for column in range(w - reach, reach, -1):
                down, right = offsets[sample, row - reach - 1, column - reach - 1]
                values[row, column] = values[row + down, column + right]
        assert np.array_equal(found[sample], values.ravel())


def test_glass_blur_only_moves_pixels_where_it_smooths_nothing() -> None:
    clean = images(3)
    made = corrupt("glass_blur", clean, 1, range(3))
    assert torch.equal(made[..., :2, :], clean[..., :2, :])
    for before, after in zip(clean, made, strict=True):
        colours = {tuple(colour.tolist()) for colour in before.flatten(1).T}
        assert {tuple(colour.tolist()) for colour in after.flatten(1).T} <= colours


def test_motion_blur_trails_a_half_gaussian() -> None:
    weights = np.exp(-(np.arange(13) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    clean = np.zeros((4, 1, 41, 41), dtype=np.float32)
    clean[:, :, 20, 20] = 1
    made = moved(clean, 6, 1.5, [0, 90, 45, -30])
    for step, weight in enumerate(weights):
        # A pixel takes the values that lie ahead of it: the trail is behind.
        assert made[0, 0, 20, 20 - step] == pytest.approx(weight, abs=1e-6)
        assert made[1, 0, 20 - step, 20] == pytest.approx(weight, abs=1e-6)
    np.testing.assert_allclose(made.sum(axis=(1, 2, 3)), 1, atol=1e-5)
    rows, columns = np.nonzero(made[2, 0])
    assert np.array_equal(rows, columns)
    rows, columns = np.nonzero(made[3, 0])
    assert np.all(np.abs((rows - 20) + (columns - 20) * math.tan(math.radians(30))) <= 1)
    flat = moved(np.full((1, 3, 5, 7), 0.25, dtype=np.float32), 20, 15, [-130])
    np.testing.assert_allclose(flat, 0.25, atol=1e-6)


@pytest.mark.parametrize(("size", "factor"), [(32, 1.01), (32, 1.25), (8, 1.11), (64, 4.5), (33, 2.25)])
def test_zoom_is_scipys(size: int, factor: float) -> None:
    clean = images(1, 2, size, size).numpy()
    cut = math.ceil(size / factor)
    top = (size - cut) // 2
    inside = clean[0, :, top : top + cut, top : top + cut]
    enlarged = ndimage.zoom(inside, (1, factor, factor), order=1)
    trim = (enlarged.shape[1] - size) // 2
    expected = enlarged[:, trim : trim + size, trim : trim + size]
    np.testing.assert_allclose(zoomed(clean, factor)[0], expected, atol=1e-5)


def test_zoom_blur_is_the_mean_over_zooms() -> None:
    clean = images(2)
    factors = np.arange(1, 1.16, 0.01)
    expected = sum((zoomed(clean.numpy(), factor) for factor in factors), clean.numpy()) / (len(factors) + 1)
    close(corrupt("zoom_blur", clean, 3, [0, 0]), expected)


@pytest.mark.parametrize("severity", [1, 5])
def test_brightness_is_that_of_colorsys(severity: int) -> None:
    amount = parameter("brightness", severity)
    by_colorsys(corrupt("brightness", colours(), severity, [0]), lambda h, s, v: (h, s, min(1, v + amount)))


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_saturation_is_that_of_colorsys(severity: int) -> None:
    factor, amount = parameter("saturate", severity)
    by_colorsys(
        corrupt("saturate", colours(), severity, [0]),
        lambda h, s, v: (h, min(1, max(0, s * factor + amount)), v),
    )


def colours() -> Tensor:
    """(1, 3, 16, 16) random colours with black, white, grey and pure ones among them."""
    random = np.random.default_rng(1)
    values = np.rint(random.random((256, 3)) * 255) / 255
    values[:6] = [[0, 0, 0], [1, 1, 1], [0.4, 0.4, 0.4], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    return torch.from_numpy(values.T.reshape(1, 3, 16, 16)).float()


def by_colorsys(made: Tensor, change: Callable[[float, float, float], tuple[float, float, float]]) -> None:
    expected = [
        colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*colour)))
        for colour in colours()[0].flatten(1).T.tolist()
    ]
    close(made[0].flatten(1).T, np.array(expected))


@pytest.mark.parametrize("size", [32, 64])
def test_contrast_is_its_closed_form(size: int) -> None:
    clean = images(3, h=size, w=size)
    mean = clean.mean((2, 3), keepdim=True)
    close(corrupt("contrast", clean, 5, range(3)), (clean - mean) * parameter("contrast", 5, size) + mean)


def test_jpeg_and_pixelate_are_pillows() -> None:
    for channels, size in ((3, 32), (1, 8), (3, 64)):
        clean = images(3, channels, size, size)
        quality, factor = parameter("jpeg_compression", 4, size), parameter("pixelate", 4, size)
        jpeg = corrupt("jpeg_compression", clean, 4, range(3))
        coarse = corrupt("pixelate", clean, 4, range(3))
        for index, image in enumerate(clean):
            picture = functional.to_pil_image(image)
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            assert torch.equal(jpeg[index], functional.to_tensor(Image.open(file)))
            side = int(size * factor)
            box = picture.resize((side, side), Image.Resampling.BOX).resize(
                (size, size), Image.Resampling.BOX
            )
            assert torch.equal(coarse[index], functional.to_tensor(box))


def test_plasma_is_diamond_square_written_out() -> None:
    side, decay = 8, 2.0
    generators = [np.random.default_rng(seed) for seed in (3, 4)]
    found = plasma(generators, side, side, decay)
    for seed, field in zip((3, 4), found, strict=True):
        draws = iter(np.random.default_rng(seed).uniform(-1, 1, side * side - 1))
        expected = np.zeros((side, side))
        step, rough = side, 100.0
        while step >= 2:
            half = step // 2
            at = range(0, side, step)
            centres = [(row + half, column + half) for row in at for column in at]
            right = [(row, column + half) for row in at for column in at]
            below = [(row + half, column) for row in at for column in at]
            for row, column in centres:
                around = [(row + a, column + b) for a in (-half, half) for b in (-half, half)]
                expected[row, column] = _mean(expected, around, side) + rough**2 * next(draws)
            for row, column in right + below:
                around = [
                    (row - half, column),
                    (row + half, column),
                    (row, column - half),
                    (row, column + half),
                ]
                expected[row, column] = _mean(expected, around, side) + rough**2 * next(draws)
            step, rough = half, rough / decay
        expected -= expected.min()
        np.testing.assert_allclose(field, expected / expected.max(), atol=1e-12)
    assert plasma([np.random.default_rng(0)], 20, 9, 3).shape == (1, 20, 9)


def _mean(field: np.ndarray[Any, Any], places: list[tuple[int, int]], side: int) -> float:
    return sum(float(field[row % side, column % side]) for row, column in places) / 4


def test_fog_keeps_the_brightest_value_and_frost_adds_ice() -> None:
    clean = images(6) * 0.8
    brightest = clean.amax((1, 2, 3))
    assert bool((corrupt("fog", clean, 5, range(6)).amax((1, 2, 3)) <= brightest + LEVEL).all())
    for severity in (1, 5):
        kept, ice = parameter("frost", severity)
        added = corrupt("frost", clean, severity, range(6)) - kept * clean
        assert added.min() > -LEVEL
        assert added.max() < ice + LEVEL
        assert added.mean() > 0.1 * ice
        # Bluish, and never twice the same.
        assert added[:, 2].mean() > added[:, 0].mean()
        assert added[0].sub(added[1]).abs().mean() > 0.01


def test_snow_whitens_and_falls_both_ways() -> None:
    black = torch.zeros(4, 3, 32, 32)
    made = corrupt("snow", black, 3, range(4))
    least = 0.5 * (1 - parameter("snow", 3)[6])
    assert made.min() >= least - LEVEL
    # Every flake falls a second time, turned by half a circle; nothing is clipped at these heights.
    flakes = made - least
    free = (made < 1) & (made.flip(2, 3) < 1)
    torch.testing.assert_close(flakes[free], flakes.flip(2, 3)[free], rtol=0, atol=1.1 * LEVEL)
    assert flakes.max() > 0.2


def test_spatter_is_water_and_then_mud() -> None:
    dark, bright = torch.zeros(20, 3, 32, 32), torch.ones(20, 3, 32, 32)
    water = corrupt("spatter", dark, 3, range(20))
    wet = water.amax(1) > 0
    assert 0.01 < float(wet.float().mean()) < 0.5
    # Pale turquoise: as much blue as green, less red.
    assert torch.equal(water[:, 1], water[:, 2])
    assert bool((water[:, 0][wet] < water[:, 1][wet] + LEVEL).all())
    assert float(water.max()) == pytest.approx(238 / 255 * parameter("spatter", 3)[4], abs=LEVEL)
    mud = corrupt("spatter", bright, 5, range(20))
    covered = mud.amin(1) < 0.999
    assert 0.005 < float(covered.float().mean()) < 0.5
    red, green, blue = (mud[:, channel][covered] for channel in range(3))
    assert bool(((red >= green) & (green >= blue) & (red <= 1 - 0.8 * (1 - 63 / 255) + LEVEL)).all())


def test_equalised_levels_have_a_straight_distribution() -> None:
    levels = np.array([[3, 3, 5], [7, 7, 9]])
    # OpenCV: the lowest level becomes 0, the others their share of what lies above it, of 255.
    assert _equalised(levels).tolist() == [[0, 0, 64], [191, 191, 255]]
    assert _equalised(np.full((2, 2), 4)).tolist() == [[4, 4], [4, 4]]


def test_elastic_transform_moves_three_points_and_no_more() -> None:
    move = np.array([[1.0, -2.0], [0.5, 0.0], [-1.5, 1.0]])
    places = _affine(32, 32, move)
    points = np.array([[26, 26], [26, 6], [6, 6]])
    moved_points = np.column_stack([points + move, np.ones(3)])
    np.testing.assert_allclose(moved_points @ places, points, atol=1e-9)
    clean = images(2).numpy()
    generators = [np.random.default_rng(seed) for seed in (0, 1)]
    np.testing.assert_allclose(elastic_transform(clean, (0, 0.1, 0), generators), clean, atol=1e-6)
    # Without smoothing, a pixel is read up to `strength` away: a ramp changes by as much.
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32) / 31, (1, 1, 32, 32))
    change = elastic_transform(ramp, (2 / 32, 0, 0), [np.random.default_rng(0)]) - ramp
    assert 1.5 / 31 < np.abs(change).max() <= 2 / 31 + 1e-6


def test_elastic_field_is_smoothed_as_scipy_does() -> None:
    clean = images(1, 1, 64, 64).numpy()
    strength, deviation = 0.05, 0.4
    random = np.random.default_rng(5)
    random.uniform(size=(3, 2))
    field = random.uniform(-1, 1, (2, 64, 64))
    field = (
        strength
        * 64
        * ndimage.gaussian_filter(field, (0, 64 * deviation, 64 * deviation), mode="reflect", truncate=3)
    )
    rows, columns = np.indices((64, 64))
    expected = ndimage.map_coordinates(
        clean[0, 0], (rows + field[1], columns + field[0]), order=1, mode="reflect"
    )
    found = elastic_transform(clean, (strength, deviation, 0), [np.random.default_rng(5)])
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)
