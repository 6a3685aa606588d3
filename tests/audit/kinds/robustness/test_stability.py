"""Noise, margins and Lipschitz bounds against what linear models must give."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from leanfront.core.audit.kinds.robustness.probe import Probe
from leanfront.core.audit.kinds.robustness.stability import (
    SIGMAS,
    flips,
    lipschitz,
    margins,
    noise_agreement,
    noise_images,
    noisy_agreement,
    stability,
    summary,
    with_gaussian_noise,
    with_uniform_noise,
)
from leanfront.core.compressors import Compressor, preset
from leanfront.core.targets import Pixels, Target
from leanfront.errors import UsageError

COLOURS = Pixels((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
PIXELS = Pixels((0.45,), (0.2,))
"""With which the tiny target's inputs are images."""


def pixel_weights(layer: nn.Linear) -> Tensor:
    """(classes, 27) logits' gradients by the pixels."""
    return (layer.weight.detach().view(-1, 3, 9) / torch.tensor(COLOURS.std).view(1, 3, 1)).flatten(1)


def linear(classes: int = 2) -> tuple[nn.Sequential, Tensor]:
    """A classifier and its `pixel_weights`."""
    layer = nn.Linear(27, classes)
    return nn.Sequential(nn.Flatten(), layer).eval(), pixel_weights(layer)


def grey(count: int, spread: float = 0.1, size: int = 128) -> Probe:
    """Images around the middle of the scale."""
    images = 0.5 + spread * (2 * torch.rand(count, 3, 3, 3) - 1)
    return Probe(images, COLOURS, tuple(range(count)), size, torch.device("cpu"))


class Constant(nn.Module):
    """Answers class 1 to everything, with a gradient of 0 by its input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([0.0, 1.0]) + 0 * x.flatten(1)[:, :2]


def test_flip_rates_of_a_linear_model_are_the_normal_tails() -> None:
    module, by_pixel = linear()
    probe, draws = grey(400), 25
    logits = probe.logits(module)
    distance = (logits[:, 0] - logits[:, 1]).abs() / (by_pixel[0] - by_pixel[1]).norm()
    for rate in flips(module, probe, draws=draws):
        assert rate.level is not None
        expected = norm.cdf(-distance.numpy() / rate.level)
        error = math.sqrt((expected * (1 - expected)).sum() / draws) / 400
        assert rate.value == pytest.approx(expected.mean(), abs=4 * error)
        assert rate.low is not None
        assert rate.high is not None
        assert rate.low < rate.value < rate.high
        assert (rate.n, rate.draws) == (400, draws)
    assert [rate.level for rate in flips(module, probe)] == list(SIGMAS)


def test_noise_has_its_scale_and_is_clipped() -> None:
    probe = Probe(torch.full((200, 3, 8, 8), 0.5), COLOURS, tuple(range(200)), 64, torch.device("cpu"))
    assert float((with_gaussian_noise(probe, 0.08) - 0.5).std()) == pytest.approx(0.08, rel=0.02)
    flat = with_uniform_noise(probe, 0.1) - 0.5
    assert float(flat.abs().max()) <= 0.1 + 1e-6
    assert float(flat.std()) == pytest.approx(0.1 / math.sqrt(3), rel=0.02)
    alone = noise_images(probe)
    assert float(alone.mean()) == pytest.approx(0.5, abs=0.01)
    assert not torch.equal(alone, noise_images(probe, 1))
    white = Probe(torch.ones(5, 1, 4, 4), Pixels(), tuple(range(5)), 64, torch.device("cpu"))
    for noisy in (with_gaussian_noise(white, 0.5), with_uniform_noise(white, 0.5)):
        assert 0 <= float(noisy.min()) < float(noisy.max()) == 1


def test_batches_change_nothing(tiny: Target) -> None:
    assert tiny.test is not None
    inputs = tiny.test.tensors()[0]
    one, two = (Probe.of(inputs, PIXELS, size=size) for size in (120, 13))
    assert flips(tiny.model, one, draws=2) == flips(tiny.model, two, draws=2)
    torch.testing.assert_close(margins(tiny.model, one), margins(tiny.model, two), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(lipschitz(tiny.model, one), lipschitz(tiny.model, two), rtol=1e-2, atol=1e-2)


def test_agreement_is_of_two_models_on_the_same_noise() -> None:
    probe = grey(300)
    (one, _), (two, _) = linear(), linear()
    alone = noise_images(probe)
    same = probe.logits(one, alone).argmax(1) == probe.logits(two, alone).argmax(1)
    found = noise_agreement(one, two, probe)
    assert found.level is None
    assert found.value == pytest.approx(float(same.double().mean()))
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high < 1
    for rate in (noise_agreement(one, one, probe), *noisy_agreement(one, one, probe, draws=2)):
        assert (rate.value, rate.high) == (1.0, 1.0)
        assert rate.low is not None
        assert rate.low < 1
    # Opposite answers to everything: agreement 0, however much noise.
    opposite = nn.Sequential(one, nn.Linear(2, 2, bias=False)).eval()
    with torch.no_grad():
        opposite[1].weight.copy_(-torch.eye(2))
    assert [rate.value for rate in noisy_agreement(opposite, one, probe, (0.1, 0.4))] == [0.0, 0.0]


def test_margins_of_a_linear_model_are_distances_to_its_planes() -> None:
    module, by_pixel = linear(4)
    probe = grey(60)
    order = probe.logits(module).double().argsort(dim=1, descending=True)
    first, second = order[:, 0], order[:, 1]
    logits = probe.logits(module).double()
    lead = logits.gather(1, first[:, None])[:, 0] - logits.gather(1, second[:, None])[:, 0]
    expected = lead / (by_pixel[first] - by_pixel[second]).double().norm(dim=1)
    torch.testing.assert_close(margins(module, probe), expected, rtol=1e-4, atol=1e-6)


def test_lipschitz_bounds_lie_below_the_linear_models_constant_and_reach_it_with_two_classes() -> None:
    module, by_pixel = linear()
    probe = grey(20)
    with torch.no_grad():
        layer = module[1]
        layer.weight[1] = -layer.weight[0]
    constant = math.sqrt(2) * float(by_pixel[0].norm())
    # Small steps lose digits of the logits.
    found = lipschitz(module, probe, radius=0.02)
    torch.testing.assert_close(found, torch.full_like(found, constant), rtol=1e-4, atol=0)

    many, _ = linear(5)
    with torch.no_grad():
        many[1].weight.add_(
            0.3
        )  # a direction in which all logits move and the gradient of z_1 - z_2 does not
    by_pixel = pixel_weights(many[1])
    constant = float(torch.linalg.matrix_norm(by_pixel, 2))
    few, more = (lipschitz(many, probe, directions=count, radius=0.02) for count in (0, 30))
    assert bool((few <= more).all())
    assert bool((more <= constant * (1 + 1e-4)).all())
    assert bool((few < more).any())
    top = probe.logits(many).topk(2, dim=1).indices
    way = by_pixel[top[:, 0]] - by_pixel[top[:, 1]]
    expected = (way @ by_pixel.T).norm(dim=1) / way.norm(dim=1)
    torch.testing.assert_close(few, expected.double(), rtol=1e-3, atol=0)


def test_a_corner_of_the_box_leaves_the_direction_that_leads_inside() -> None:
    module, by_pixel = linear()
    way = (by_pixel[0] - by_pixel[1]).view(1, 3, 3, 3)
    corner = Probe((way > 0).float(), COLOURS, (0,), 1, torch.device("cpu"))
    found = lipschitz(module, corner, directions=0)
    expected = (by_pixel @ way.flatten()).norm() / way.norm()
    assert float(found) == pytest.approx(float(expected), rel=1e-2)


def test_a_constant_model_has_no_margin_and_a_bound_of_zero() -> None:
    probe = grey(6)
    module = Constant().eval()
    assert margins(module, probe).isnan().all()
    assert lipschitz(module, probe).tolist() == [0.0] * 6
    assert lipschitz(module, probe, directions=0).isnan().all()
    found = stability(module, module, probe, directions=0).to_json()
    empty = {"mean": None, "lower": None, "median": None, "upper": None, "n": 0, "undefined": 6}
    assert found["margin"] == found["lipschitz"] == empty
    assert {rate["value"] for rate in found["flips"]} == {0.0}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_summaries_equal_numpys() -> None:
    values = torch.randn(57, dtype=torch.float64)
    found = summary(torch.cat([values, torch.tensor([torch.nan, torch.nan])]))
    expected = np.quantile(values.numpy(), [0.25, 0.5, 0.75])
    assert (found.lower, found.median, found.upper) == pytest.approx(tuple(expected))
    assert found.mean == pytest.approx(float(values.mean()))
    assert (found.n, found.undefined) == (57, 2)


def test_compressed_modules_are_measured(tiny: Target) -> None:
    assert tiny.test is not None
    compressor = Compressor(tiny)
    probe = Probe.of(tiny.test.tensors()[0], PIXELS)
    for scheme in ("float16", "fixed-int8"):
        module = compressor.materialise(preset(scheme, compressor.structure)).module
        found = stability(module, tiny.model, probe, directions=2)
        assert found.margin.n == found.lipschitz.n == 120
        assert found.noisy_agreement[0].value > 0.95
        assert all(0 <= rate.value < 0.5 for rate in found.flips)


def test_settings_out_of_range_are_refused() -> None:
    probe = grey(3)
    module, _ = linear()
    for run in (
        lambda: flips(module, probe, [0.0]),
        lambda: flips(module, probe, draws=0),
        lambda: noisy_agreement(module, module, probe, [math.nan]),
        lambda: noisy_agreement(module, module, probe, draws=0),
        lambda: lipschitz(module, probe, radius=-1),
    ):
        with pytest.raises(UsageError, match="must be a number above 0"):
            run()
    with pytest.raises(UsageError, match="0 or more"):
        lipschitz(module, probe, directions=-1)
    with pytest.raises(UsageError, match="flips compare logits"):
        noise_agreement(module, linear(3)[0], probe)
