"""Signal-to-noise ratios of roundings whose noise is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from leanfront.core.audit.kinds.bounds.sqnr import absmax, layer_noise, overall, sqnr
from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.targets import Target


def test_decibels_of_known_noise() -> None:
    weight = torch.tensor([3.0, -4.0])
    assert sqnr(weight, torch.tensor([3.0, -3.5])) == pytest.approx(20)
    assert sqnr(weight, weight) == math.inf
    assert math.isnan(sqnr(torch.zeros(3), torch.zeros(3)))


def test_a_bit_is_six_decibels_of_a_full_range_uniform_source() -> None:
    weight = 2 * torch.rand(1, 200_000) - 1
    found = [sqnr(weight, absmax(weight, bits)) for bits in (5, 6, 7, 8)]
    for bits, (before, after) in zip((5, 6, 7), itertools.pairwise(found), strict=True):
        levels = (2**bits - 1) / (2 ** (bits - 1) - 1)
        assert after - before == pytest.approx(20 * math.log10(levels), abs=0.1)
    assert found[-1] - found[-2] == pytest.approx(6.02, abs=0.15)


def test_absmax_of_a_gaussian_at_8_bits_is_39_decibels() -> None:
    weight = torch.randn(1, 1_000_000, generator=torch.Generator().manual_seed(0))
    assert sqnr(weight, absmax(weight, 8)) == pytest.approx(38.8, abs=1)


def test_layers_of_a_model(tiny: Target) -> None:
    compressor = Compressor(tiny, samples=64)
    layers = compressor.structure.layers
    made = compressor.materialise(
        Configuration(weight_bits=dict.fromkeys(layers, 4), sparsity={"conv2": 0.5})
    )
    found = layer_noise(made, compressor.structure, tiny.model)
    assert list(found) == list(layers)
    weight, rounded = tiny.model.conv1.weight, made.module.conv1.weight
    assert found["conv1"].sqnr == pytest.approx(sqnr(weight, rounded))
    assert found["conv1"].absmax == pytest.approx(sqnr(weight, absmax(weight, 4)))
    assert found["conv1"].gain is not None
    assert found["conv1"].gain > 0  # the scale is searched, absmax is among what is tried
    assert found["conv2"].gain is None
    assert found["conv2"].zeros >= 0.5
    sizes = {name: compressor.structure.parts[name].weights for name in layers}
    flat = [
        torch.cat([m.get_submodule(n).weight.flatten() for n in layers]) for m in (tiny.model, made.module)
    ]
    assert overall(found, sizes) == pytest.approx(sqnr(*flat), rel=1e-5)
    cut = compressor.materialise(Configuration(channels={"conv1": 6}))
    assert "conv1" not in layer_noise(cut, compressor.structure, tiny.model)
