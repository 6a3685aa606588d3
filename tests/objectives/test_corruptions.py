"""What holds for every corruption: form, seeds, independence of the batch, growth with severity, errors."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor

from leanfront.core.objectives.corruptions import CORRUPTIONS, MAIN, SEVERITIES, Corruption, corrupt, register
from leanfront.core.objectives.corruptions import apply as apply_module
from leanfront.core.objectives.corruptions import registry as registry_module
from leanfront.errors import UsageError

NOT_GROWING = {
    ("glass_blur", "small"): "smoothing and rounds do not rise together",
    ("glass_blur", "large"): "smoothing, reach and rounds do not rise together",
    ("motion_blur", "small"): "severities 3 and 4 have one kernel but for its end, which weighs nothing",
    ("frost", "small"): "the image is dimmed from severity 3 on, which makes up for some of the ice",
    ("frost", "large"): "the image is dimmed from severity 2 on, which makes up for some of the ice",
    ("fog", "large"): "more fog is scaled back by more",
    ("elastic_transform", "small"): "the affine part shrinks while the elastic part grows",
    ("elastic_transform", "large"): "the affine part shrinks while the elastic part grows",
    ("spatter", "small"): "water up to severity 3, mud from 4 on",
    ("saturate", "small"): "less saturation at severities 1 and 2, more from 3 on",
    ("saturate", "large"): "less saturation at severities 1 and 2, more from 3 on",
}
"""Corruptions whose distance to the clean image need not grow with every severity, by the published parameters."""


def photographs(count: int, size: int) -> Tensor:
    """Patches of scikit-learn's two photographs, a palace and a flower: (count, 3, size, size)."""
    random = np.random.default_rng(0)
    pictures = load_sample_images().images
    side = max(128, size)
    patches = []
    for index in range(count):
        picture = pictures[index % 2]
        top, left = (int(random.integers(0, length - side)) for length in picture.shape[:2])
        patch = Image.fromarray(picture[top : top + side, left : left + side])
        patches.append(np.asarray(patch.resize((size, size), Image.Resampling.BILINEAR)))
    return torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def small() -> Tensor:
    return photographs(96, 32)


@pytest.fixture(scope="module")
def large() -> Tensor:
    return photographs(24, 64)


def test_there_are_fifteen_main_ones_and_four_more() -> None:
    assert len(MAIN) == len(set(MAIN)) == 15
    assert set(MAIN) < set(CORRUPTIONS)
    assert set(CORRUPTIONS) - set(MAIN) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert {each.family for each in CORRUPTIONS.values()} == {"noise", "blur", "weather", "digital"}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_form_and_levels(name: str, small: Tensor) -> None:
    clean = small[:8].clone()
    for severity in SEVERITIES:
        made = corrupt(name, clean, severity, range(8))
        assert made.shape == clean.shape
        assert made.dtype == torch.float32
        assert made.min() >= 0
        assert made.max() <= 1
        levels = made * 255
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
        assert not torch.equal(made, clean)
        # What an image file keeps, bit for bit.
        file = io.BytesIO()
        Image.fromarray(levels.round().byte()[0].permute(1, 2, 0).numpy()).save(file, "PNG")
        kept = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
        assert torch.equal(made[0], kept)
    assert torch.equal(clean, small[:8])


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_sample_depends_on_nothing_but_itself(
    name: str, size: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean: Tensor = request.getfixturevalue(size)[:7]
    seeds = [11, 5, 2**40, 0, 7, 3, 5]
    for severity in (1, 3, 5) if size == "small" else (4,):
        whole = corrupt(name, clean, severity, seeds)
        assert torch.equal(whole, corrupt(name, clean, severity, seeds))
        order = [4, 0, 6]
        part = corrupt(name, clean[order], severity, [seeds[index] for index in order])
        assert torch.equal(part, whole[order])
        with monkeypatch.context() as patch:
            patch.setattr(apply_module, "CHUNK_VALUES", 2 * clean[0].numel())
            assert torch.equal(corrupt(name, clean, severity, torch.tensor(seeds)), whole)


DRAWN = sorted(set(CORRUPTIONS) - {"defocus_blur", "zoom_blur", "gaussian_blur", "brightness", "contrast"})


@pytest.mark.parametrize("name", DRAWN)
def test_seeds_and_severities_draw_anew(name: str, small: Tensor) -> None:
    if name in ("pixelate", "jpeg_compression", "saturate"):
        assert torch.equal(corrupt(name, small[:4], 5, [1] * 4), corrupt(name, small[:4], 5, [2] * 4))
        return
    # Dark ones, for snow leaves nothing of a bright sky.
    first, second = (corrupt(name, small[:8] / 4, 5, [seed] * 8) for seed in (1, 2))
    assert all(not torch.equal(one, other) for one, other in zip(first, second, strict=True))
    generators = {
        tuple(apply_module._generator(*each).integers(0, 2**62, 4))
        for each in [(1, name, 1), (1, name, 2), (2, name, 1), (1, "x", 1)]
    }
    assert len(generators) == 4


KNOWN = {
    "gaussian_noise": [86, 167, 124, 144, 151, 136, 113, 169, 116, 130, 102, 129, 111, 151, 106, 121],
    "shot_noise": [76, 133, 107, 138, 107, 107, 87, 107, 87, 92, 107, 153, 122, 143, 107, 133],
}


@pytest.mark.parametrize("name", KNOWN)
def test_drawn_numbers_stay(name: str) -> None:
    # Written down once: figures of different machines and releases must be comparable.
    made = corrupt(name, torch.full((1, 1, 4, 4), 0.5), 5, [1])
    assert (made * 255).round().int().flatten().tolist() == KNOWN[name]


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", ["small", "large"])
def test_damage_grows_with_severity(name: str, size: str, request: pytest.FixtureRequest) -> None:
    clean: Tensor = request.getfixturevalue(size)
    damage = [
        float((corrupt(name, clean, severity, range(len(clean))) - clean).square().mean())
        for severity in SEVERITIES
    ]
    assert min(damage) > 0
    if (name, size) not in NOT_GROWING:
        assert damage == sorted(damage)
        assert len(set(damage)) == 5


def unchanged(name: str, shape: tuple[int, int, int], severity: int) -> bool:
    """Whether the published parameters leave images of this shape (c, h, w) as they are."""
    if name == "saturate":  # grey has no saturation to multiply; at 4 and 5 some is added
        return shape[0] == 1 and severity < 4
    # No zoom of these adds half a pixel.
    return name == "zoom_blur" and severity <= {8: 1, 4: 2}.get(shape[1], 0)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 4), (1, 5, 9), (3, 40, 24), (1, 64, 80), (3, 224, 224)])
def test_any_size_and_grey(name: str, shape: tuple[int, int, int]) -> None:
    n = 12 if shape[1] < 64 else 1
    clean = photographs(n, max(shape[1:]))[:, : shape[0], : shape[1], : shape[2]]
    severities = SEVERITIES if shape[1] < 64 else (3, 5)
    for severity in severities:
        made = corrupt(name, clean, severity, range(n))
        assert made.shape == clean.shape
        assert bool(made.isfinite().all())
        assert torch.equal(made, (clean * 255).round() / 255) == unchanged(name, shape, severity)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_black_and_white_images_stay_finite(name: str, value: float) -> None:
    for severity in (1, 5):
        made = corrupt(name, torch.full((2, 3, 16, 16), value), severity, [0, 1])
        assert bool(made.isfinite().all())


def test_no_images_give_none() -> None:
    for name in ("brightness", "pixelate"):
        assert corrupt(name, torch.zeros(0, 3, 8, 8), 1, []).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "rain"}, "unknown corruption 'rain'; known: gaussian_noise, "),
        ({"severity": 0}, "severity of fog is 0; it must be one of 1 to 5"),
        ({"severity": 6}, "severity of fog is 6"),
        ({"severity": True}, "severity of fog is True"),
        ({"severity": 2.5}, "severity of fog is 2.5"),
        ({"pixels": torch.full((2, 3, 8, 8), 1.01)}, r"pixels in \[0, 1\]; they lie in \[1.01, 1.01\]"),
        ({"pixels": torch.full((2, 3, 8, 8), -0.5)}, "they lie in"),
        ({"pixels": torch.full((2, 3, 8, 8), float("nan"))}, "they lie in"),
        ({"pixels": torch.zeros(2, 2, 8, 8)}, r"c = 1 or 3 .* not \(2, 2, 8, 8\)"),
        ({"pixels": torch.zeros(2, 3, 3, 8)}, r"at least 4, not \(2, 3, 3, 8\)"),
        ({"pixels": torch.zeros(3, 8, 8)}, r"not \(3, 8, 8\)"),
        ({"seeds": [1]}, "1 seeds for 2 samples"),
        ({"seeds": [1, -2]}, "the seed -2; seeds are whole numbers from 0"),
    ],
)
def test_what_is_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "name": "fog",
        "pixels": torch.zeros(2, 3, 8, 8),
        "severity": 1,
        "seeds": [0, 1],
        **change,
    }
    with pytest.raises(UsageError, match=message):
        corrupt(**arguments)


def test_rounding_outside_the_range_is_clipped() -> None:
    nearly = torch.tensor([-5e-4, 1 + 5e-4]).repeat(1, 1, 4, 2)
    assert torch.equal(corrupt("contrast", nearly, 1, [0]), corrupt("contrast", nearly.clamp(0, 1), 1, [0]))


def test_another_corruption_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    own = dict(CORRUPTIONS)
    for module in (apply_module, registry_module):
        monkeypatch.setattr(module, "CORRUPTIONS", own)
    darker = Corruption(
        "darker", "own", (0.1, 0.2, 0.3, 0.4, 0.5), (0.5,) * 5, lambda x, by, draw: x - by, "test"
    )
    register(darker)
    made = corrupt("darker", torch.full((1, 1, 4, 4), 0.6), 5, [0])
    assert made[0, 0, 0, 0] == pytest.approx(round(0.1 * 255) / 255)
    with pytest.raises(ValueError, match="registered already"):
        register(darker)
    with pytest.raises(ValueError, match="5 parameter sets"):
        register(Corruption("few", "own", (1,), (1,) * 5, darker.apply, "test"))
