"""Inputs and the pixels they are made of."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.targets import Pixels, Target
from leanfront.errors import TargetError

FIGURES = Pixels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def make(pixels: Any, low: float = 0.0, high: float = 1.0, channels: int = 3, **changes: Any) -> Target:
    """A target whose calibration images reach from `low` to `high`."""

    def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        drawn = low + (high - low) * torch.rand(count, 3, 4, 4, generator=generator)
        drawn[0, 0, 0, :2] = torch.tensor([low, high])
        return FIGURES.inputs(drawn)[:, :channels], torch.arange(count) % 2

    torch.manual_seed(0)
    given: dict[str, Any] = {
        "model": nn.Sequential(nn.Flatten(), nn.Linear(channels * 16, 2)),
        "example_input": images(1, 0)[0],
        "calibration": images(8, 1),
        "validation": images(9, 2),
    }
    return Target(**{**given, "pixels": pixels, **changes})


def test_both_ways() -> None:
    pixels = torch.rand(2, 3, 5, 4)
    inputs = FIGURES.inputs(pixels)
    torch.testing.assert_close(inputs[:, 1], (pixels[:, 1] - 0.4) / 0.25)
    torch.testing.assert_close(FIGURES.of(inputs), pixels)
    assert Pixels().of(pixels).equal(pixels)
    assert FIGURES.channels == 3


def test_a_target_keeps_them_outside_its_fingerprint() -> None:
    target = make(FIGURES)
    assert target.pixels == FIGURES
    assert target.referred("here").pixels == FIGURES
    assert pickle.loads(pickle.dumps(target)).pixels == FIGURES
    assert make(None).pixels is None
    assert make(None).fingerprint == target.fingerprint


@pytest.mark.parametrize(("low", "high"), [(-0.009, 1.0), (0.0, 1.009)])
def test_a_little_overshoot_is_let_through(low: float, high: float) -> None:
    assert make(FIGURES, low, high).pixels == FIGURES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": (0.5, 0.2)}, "pixels is a tuple; give targets.Pixels"),
        (
            {"pixels": Pixels()},
            r"figures of 1 channel\(s\), but example_input is torch.float32 of shape \(1, 3, 4, 4\)",
        ),
        ({"pixels": FIGURES, "channels": 2}, r"figures of 3 channel\(s\), but .* \(1, 2, 4, 4\)"),
        ({"pixels": FIGURES, "low": -0.02}, r"first 8 calibration inputs back to \[-0.02, 1\], not into"),
        ({"pixels": FIGURES, "high": 255.0}, r"back to \[0, 255\].*divided by 255"),
        ({"pixels": Pixels((0.0,) * 3, (1.0,) * 3)}, r"back to \[-2\.[0-9]+, 2\.[0-9]+\]"),
    ],
)
def test_what_the_inputs_are_not_made_of_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        make(**changes)


def test_inputs_that_are_no_images_are_refused() -> None:
    flat = (torch.rand(8, 3), torch.arange(8) % 2)
    with pytest.raises(TargetError, match=r"shape \(1, 3\); inputs must be float images \(1, 3, h, w\)"):
        Target(
            model=nn.Linear(3, 2),
            example_input=flat[0][:1],
            calibration=flat,
            validation=(flat[0] + 1, flat[1]),
            pixels=FIGURES,
        )


def test_bad_figures() -> None:
    for mean, std in (((0.5,), (0.1, 0.2)), ((), ()), ((0.5,), (0.0,))):
        with pytest.raises(TargetError, match="must have one number a channel, std above 0"):
            Pixels(mean, std)
