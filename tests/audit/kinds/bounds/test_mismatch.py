"""The mismatch bound on linear classifiers, where it is exact to first order and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from leanfront.core.audit.kinds.bounds.mismatch import (
    NoiseGains,
    Steps,
    mismatch_bound,
    noise_gains,
    steps_of,
)
from leanfront.core.compressors import Compressor, Configuration, preset
from leanfront.core.compressors.structure.derivation import skeleton
from leanfront.core.targets import Target
from leanfront.errors import EvaluationError


def classifier(seed: int, classes: int = 4, features: int = 12) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(features, classes))
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(classes, features, generator=generator))
        model[0].bias.copy_(torch.randn(classes, generator=generator))
    return model.eval()


def gains_of(model: nn.Module, inputs: Tensor) -> NoiseGains:
    return noise_gains(model, skeleton(model, inputs[:1]), inputs)


def test_gains_of_a_linear_classifier_by_hand() -> None:
    model, inputs = classifier(0), torch.randn(5, 12)
    found = gains_of(model, inputs)
    weight = model[0].weight.detach().double()
    for place, x in enumerate(inputs.double()):
        z = weight @ x + model[0].bias.detach().double()
        f = int(z.argmax())
        own, read = torch.zeros(4, dtype=torch.float64), 0.0
        for i in set(range(4)) - {f}:
            gap = 24 * float(z[f] - z[i]) ** 2
            own[f] += float(x @ x) / gap
            own[i] += float(x @ x) / gap
            read += float((weight[f] - weight[i]).square().sum()) / gap
        assert found.weights["0"][place].tolist() == pytest.approx(own.tolist(), rel=1e-4)
        assert float(found.activations["0"][place]) == pytest.approx(read, rel=1e-4)
    assert found.classes == 3


WIDTHS = (3, 4, 5, 6)


def rounded_mismatch(seed: int, samples: int = 25) -> list[tuple[float, float, float]]:
    """Of a random classifier, width by width: measured, bound, and the bound of a sample before clipping."""
    model = classifier(seed)
    layer, kept = model[0], model[0].weight.detach().clone()
    inputs = torch.randn(samples, 12, generator=torch.Generator().manual_seed(1000 + seed))
    gains, before = gains_of(model, inputs), model(inputs).argmax(1)
    found = []
    for bits in WIDTHS:
        step, width = (2 * float(each.abs().max()) / 2**bits for each in (kept, inputs))
        bound = mismatch_bound(gains, Steps({"0": torch.full((4,), step)}, {"0": width}))
        with torch.no_grad():
            layer.weight.copy_((kept / step).round() * step)
            after = model((inputs / width).round() * width).argmax(1)
        measured = float((before != after).double().mean())
        found.append((measured, bound.value, bound.weights + bound.activations))
    return found


def test_the_bound_holds_on_averages_and_quarters_with_each_bit() -> None:
    found = np.mean([rounded_mismatch(seed) for seed in range(50)], axis=0)
    measured, bound, unclipped = found.T
    assert (measured > 0).all()
    assert (measured < bound).all()
    assert unclipped[:-1] / unclipped[1:] == pytest.approx(4)
    # Samples that are clipped are why the bound itself falls more slowly.
    assert 1.5 < bound[-2] / bound[-1] < 4


def test_samples_are_clipped_one_by_one() -> None:
    gains = NoiseGains(
        {"l": torch.tensor([[0.1], [100.0], [float("inf")], [0.0]], dtype=torch.float64)}, {}, 1
    )
    found = mismatch_bound(gains, Steps({"l": torch.ones(1)}, {}))
    assert found.value == pytest.approx((0.1 + 1 + 1 + 0) / 4)
    assert found.clipped == 0.5


@pytest.fixture(scope="module")
def compressor(tiny: Target) -> Compressor:
    return Compressor(tiny, samples=64)


def test_gains_of_a_network_are_what_noise_does(compressor: Compressor, tiny: Target) -> None:
    """The variance that small noise in one layer's weights, or input, gives to the gaps."""
    inputs = tiny.validation.tensors()[0][:1]
    model = compressor.materialise(Configuration()).module
    found = noise_gains(model, compressor.structure, inputs)
    step = 1e-3
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        logits = model(inputs)[0].double()
        order = logits.argsort(descending=True)
        gaps = logits[order[0]] - logits[order[1:]]
        for what in ("weight", "input"):
            layer, changed = model.conv2, []

            def noisy(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
                return (given[0] + step * (torch.rand(given[0].shape, generator=generator) - 0.5),)

            kept = layer.weight.clone()
            handle = layer.register_forward_pre_hook(noisy) if what == "input" else None
            for _ in range(400):
                if what == "weight":
                    layer.weight.copy_(kept + step * (torch.rand(kept.shape, generator=generator) - 0.5))
                now = model(inputs)[0].double()
                changed.append(now[order[0]] - now[order[1:]] - gaps)
            layer.weight.copy_(kept)
            if handle is not None:
                handle.remove()
            variance = torch.stack(changed).var(0)
            expected = float((variance / (2 * gaps.square())).sum()) / step**2
            gain = found.weights["conv2"].sum() if what == "weight" else found.activations["conv2"].sum()
            assert float(gain) == pytest.approx(expected, rel=0.25)


def test_steps_are_the_models_own(compressor: Compressor) -> None:
    structure = compressor.structure
    own = compressor.materialise(preset("fixed-int8", structure))
    found = steps_of(own, structure)
    assert isinstance(found, Steps)
    assert set(found.weights) == set(found.activations) == set(structure.layers)
    assert torch.equal(found.weights["conv1"], own.codes["conv1"].scale)
    assert found.activations["conv1"] == float(own.module.conv1.input_quantiser.scale)


@pytest.mark.parametrize(
    ("configuration", "why"),
    [
        (Configuration(sparsity={"conv2": 0.5}), "pruning"),
        (Configuration(channels={"conv1": 6}), "pruning"),
        (Configuration(weight_bits={"conv2": 16}), "float16"),
        (Configuration(activation_bits={"conv2": 8}, activation_range="dynamic"), "batch"),
    ],
)
def test_where_the_bound_says_nothing(compressor: Compressor, configuration: Configuration, why: str) -> None:
    found = steps_of(compressor.materialise(configuration), compressor.structure)
    assert isinstance(found, str)
    assert why in found


def test_a_model_without_gradients_has_no_bound() -> None:
    class Closed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(x)

    model = Closed(nn.Linear(3, 2)).eval()
    with pytest.raises(EvaluationError, match="cannot be differentiated"):
        gains_of(model, torch.randn(2, 3))
