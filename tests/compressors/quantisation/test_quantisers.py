from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from leanfront.core.compressors import ActivationQuantiser, quantise_weight
from leanfront.core.compressors.quantisation.quantisers import (
    HISTOGRAM_BINS,
    RANGES,
    RangeObserver,
    affine,
    calibrated,
    levels,
    quantise_input,
)
from leanfront.errors import CompressionError

BITS = (2, 3, 4, 5, 6, 7, 8)


def squared_error(weight: Tensor, scale: Tensor, bits: int) -> Tensor:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    rounded = (weight / scale).round().clamp(low, high) * scale
    return (weight - rounded).double().square().sum(1)


@given(
    st.sampled_from(BITS),
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(-9, 3),
    st.integers(0, 10_000),
)
def test_codes_scales_and_errors(bits: int, channels: int, width: int, magnitude: int, seed: int) -> None:
    weight = torch.from_numpy(
        np.random.default_rng(seed).standard_normal((channels, width)).astype(np.float32) * 10.0**magnitude
    )
    weight[0] = 0
    found = quantise_weight(weight, bits)
    low, high = levels(bits)
    assert (low, high) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert found.codes.dtype == torch.int8
    assert found.codes.shape == weight.shape
    assert int(found.codes.min()) >= low
    assert int(found.codes.max()) <= high
    assert found.scale.shape == (channels,)
    assert torch.equal(found.scale.half().float(), found.scale)
    assert bool((found.scale > 0).all())
    assert found.scale[0] == 1
    assert not found.codes[0].any()
    # Each integer is the nearest level under the scale that is stored.
    expected = (weight / found.scale[:, None]).round().clamp(low, high)
    assert torch.equal(found.codes.float(), expected)
    plain = (weight.abs().amax(1, keepdim=True) / high).clamp_min(2.0**-24).half().float()
    errors = (weight - found.dequantise()).double().square().sum(1)
    assert bool((errors <= squared_error(weight, plain, bits) * (1 + 1e-5) + 1e-30).all())


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["normal", "uniform", "laplace", "heavy"])
def test_the_scale_is_near_the_best_of_a_fine_grid(bits: int, kind: str) -> None:
    random = np.random.default_rng(bits)
    draw = {
        "normal": random.standard_normal,
        "uniform": lambda shape: random.uniform(-1, 1, shape),
        "laplace": lambda shape: random.laplace(size=shape),
        "heavy": lambda shape: random.standard_t(3, shape),
    }[kind]
    weight = torch.from_numpy(0.05 * draw((8, 1500))).float()
    top = weight.abs().amax(1, keepdim=True)
    best = torch.full((8,), torch.inf, dtype=torch.float64)
    for share in np.linspace(0.02, 1.05, 1000):
        best = torch.minimum(
            best, squared_error(weight, (top / levels(bits)[1] * share).half().float(), bits)
        )
    errors = (weight - quantise_weight(weight, bits).dequantise()).double().square().sum(1)
    # With many levels the error jumps from scale to scale by luck, which a finer grid collects.
    assert bool((errors <= best * (1.01 if bits <= 5 else 1.06)).all())


def decibels(weight: Tensor, bits: int) -> float:
    error = weight - quantise_weight(weight, bits).dequantise()
    return 10 * math.log10(float(weight.double().square().sum() / error.double().square().sum()))


def test_six_decibels_a_bit_for_a_uniform_source() -> None:
    weight = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 200_000))).float()
    found = [decibels(weight, bits) for bits in BITS]
    for bits, level in zip(BITS, found, strict=True):
        # One of the 2^b levels is of no use to a symmetric source that must have its zero.
        assert 20 * math.log10(2**bits - 1) - 0.1 <= level <= 20 * math.log10(2**bits) + 0.1
    assert np.diff(found)[-2:] == pytest.approx(6.02, abs=0.2)


def test_a_gaussian_at_eight_bits() -> None:
    """38.8 dB by the absolute maximum, not 48 (methods.md section 2); the searched scale does better."""
    weight = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 200_000))).float()
    top = weight.abs().max()
    plain = squared_error(weight, top / 127, 8)
    assert 10 * math.log10(float(weight.double().square().sum() / plain)) == pytest.approx(38.8, abs=1)
    assert 39.5 < decibels(weight, 8) < 42


@pytest.mark.parametrize("axis", [0, 1])
def test_the_channel_axis(axis: int) -> None:
    weight = torch.randn(6, 4, 3, 3)
    found = quantise_weight(weight, 4, axis)
    assert found.scale.shape == (weight.shape[axis],)
    assert found.codes.is_contiguous()
    for channel in range(weight.shape[axis]):
        single = quantise_weight(weight.select(axis, channel).flatten()[None], 4)
        assert torch.equal(found.codes.select(axis, channel).flatten()[None], single.codes)
        assert torch.equal(found.dequantise().select(axis, channel).flatten()[None], single.dequantise())


@given(st.integers(4, 8), st.floats(-20, 20), st.floats(-20, 20))
def test_the_grid_holds_zero_exactly(bits: int, one: float, two: float) -> None:
    low, high = min(one, two), max(one, two)
    scale, zero = affine(torch.tensor(low), torch.tensor(high), bits)
    assert 0 <= int(zero) <= 2**bits - 1
    quantiser = ActivationQuantiser(bits, float(scale), int(zero))
    assert float(quantiser(torch.zeros(1))) == 0
    values = torch.linspace(min(low, 0), max(high, 0), 50)
    # Inside the range an error is half a step, and half a step more for the rounded zero point.
    assert float((quantiser(values) - values).abs().max()) <= float(scale) * 1.0001 + 1e-30
    assert len(quantiser(values).unique()) <= 2**bits


def test_rounding_by_hand() -> None:
    quantiser = ActivationQuantiser(4, 0.5, 3)
    values = torch.tensor([-9.0, -1.5, -0.3, -0.2, 0.0, 0.2, 0.3, 5.9, 6.1, 40.0])
    expected = torch.tensor([-1.5, -1.5, -0.5, 0.0, 0.0, 0.0, 0.5, 6.0, 6.0, 6.0])
    assert torch.equal(quantiser(values), expected)
    assert quantiser(values.half()).dtype == torch.float16


def test_dynamic_ranges_are_each_batchs_own() -> None:
    quantiser = ActivationQuantiser(8)
    for reach in (1.0, 100.0):
        values = torch.linspace(-reach, reach, 1001)
        step = 2 * reach / 255
        assert float((quantiser(values) - values).abs().max()) <= step
        assert float((quantiser(values) - values).abs().max()) >= step / 4
    assert not quantiser(torch.zeros(3)).any()


def observed(*batches: Tensor) -> RangeObserver:
    observer = RangeObserver()
    for batch in batches:
        observer.observe(batch)
    return observer


@settings(max_examples=30)
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=6), st.integers(0, 99))
def test_the_histogram_is_numpys_on_its_own_bins(exponents: list[float], seed: int) -> None:
    random = np.random.default_rng(seed)
    batches = [
        torch.from_numpy((random.standard_normal(200) * 10.0**e).astype(np.float32)) for e in exponents
    ]
    observer = observed(*batches)
    values = torch.cat(batches).double().numpy()
    assert observer.counts.sum() == len(values)
    assert observer.low == values.min()
    assert observer.high == values.max()
    reach = np.abs(values).max()
    assert observer.width * HISTOGRAM_BINS >= reach * (1 - 1e-12)
    borders = np.arange(-HISTOGRAM_BINS, HISTOGRAM_BINS + 1) * observer.width
    counts, _ = np.histogram(values, borders)
    # A value on a border may fall to either side by rounding, so cumulative counts differ by it alone.
    assert np.abs(np.cumsum(counts) - observer.counts.cumsum(0).numpy()).max() <= 2
    assert np.allclose(observer.centres().numpy(), (borders[1:] + borders[:-1]) / 2)


def test_growing_moves_no_count_across_zero() -> None:
    observer = observed(torch.tensor([-1.0, -0.5, 0.25, 1.0]), torch.tensor([1000.0]))
    assert observer.counts[:HISTOGRAM_BINS].sum() == 2
    assert observer.counts[HISTOGRAM_BINS:].sum() == 3
    assert observer.counts[-1] + observer.counts[-1025:].sum() >= 1
    zeros = observed(torch.zeros(5), torch.tensor([3.0]))
    assert (zeros.low, zeros.high) == (0, 3)
    assert zeros.counts.sum() == 6


def test_ranges_against_naive_ones() -> None:
    random = np.random.default_rng(3)
    values = np.maximum(random.standard_normal(400_000), 0).astype(np.float32)
    values[0] = 40  # an outlier
    values[1] = -2
    observer = observed(*torch.from_numpy(values).split(100_000))
    assert RANGES["minmax"](observer, 8) == (-2, 40)
    low, high = RANGES["percentile"](observer, 8)
    assert low == pytest.approx(np.quantile(values, 0.00005), abs=2 * observer.width)
    assert high == pytest.approx(np.quantile(values, 0.99995), abs=2 * observer.width)

    def error(low: float, high: float, bits: int) -> float:
        scale = (max(high, 0) - min(low, 0)) / (2**bits - 1)
        zero = round(-min(low, 0) / scale)
        codes = np.clip(np.round(values / scale) + zero, 0, 2**bits - 1)
        return float((((codes - zero) * scale - values) ** 2).sum())

    for bits in (4, 8):
        found = error(*RANGES["mse"](observer, bits), bits)
        shares = np.linspace(0.2, 1, 60)
        assert found <= 1.02 * min(error(-2 * share, 40 * share, bits) for share in shares)
        assert found <= error(-2, 40, bits)


@pytest.mark.parametrize("rule", sorted(RANGES))
def test_constant_inputs(rule: str) -> None:
    for value in (0.0, 2.0, -3.0):
        quantiser = calibrated(observed(torch.full((10,), value)), rule, 8)
        assert float(quantiser(torch.tensor(value))) == pytest.approx(value, rel=5e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_ranges_need_finite_values(bad: float) -> None:
    with pytest.raises(CompressionError, match="finite"):
        observed(torch.tensor([1.0, bad]))


def test_a_layer_reads_its_rounded_input() -> None:
    layer: Any = nn.Linear(3, 2)
    layer.add_module("input_quantiser", ActivationQuantiser(4, 0.5, 3))
    layer.register_forward_pre_hook(quantise_input)
    x = torch.randn(5, 3)
    rounded = layer.input_quantiser(x)
    assert torch.equal(layer(x), nn.functional.linear(rounded, layer.weight, layer.bias))
