"""Predicted losses by hand, by order and by what they claim to predict."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from leanfront.core.compressors import Bank, Compressor, Configuration, Sensitivities, sensitivities
from leanfront.core.compressors.refit.bank import Choice
from leanfront.core.compressors.refit.sensitivity import QUADS, RANGE, SOLVED_WIDTHS
from leanfront.core.targets import Target

BITS = (2, 3, 4, 5, 6, 8, 16, 32)
SHARES = (0.25, 0.5, 0.9, "2:4")


@pytest.fixture(scope="module")
def compressor(tiny: Target) -> Compressor:
    return Compressor(tiny)


@pytest.fixture(scope="module")
def bank(compressor: Compressor) -> Bank:
    return compressor.context.bank


@pytest.fixture(scope="module")
def found(compressor: Compressor, bank: Bank) -> Sensitivities:
    return sensitivities(
        bank, compressor.context.saliency, bits=BITS, sparsity=SHARES, activation_bits=(4, 6, 8)
    )


def test_weights_cost_half_the_fisher_weighted_error(bank: Bank, found: Sensitivities) -> None:
    for layer, losses in found.weights.items():
        moments = bank.moments[layer]
        dense = moments.blocks.split(bank._weights[layer])
        for bits in BITS[:SOLVED_WIDTHS]:
            total = 0.0
            for rows, gram, solution in zip(
                dense, bank.gram(layer), bank.entry(layer, Choice(bits=bits)), strict=True
            ):
                wrong = (rows - solution.weight).double()
                errors = torch.diagonal(wrong @ gram.double() @ wrong.transpose(1, 2), dim1=1, dim2=2)
                total += float((moments.fisher.double() * errors.flatten()).sum())
            assert losses[bits] == pytest.approx(0.5 * total, rel=1e-3)
        # Each bit more divides the squared error by four.
        assert losses[4] == pytest.approx(losses[3] / 4)
        assert losses[8] == pytest.approx(losses[3] / 4**5)


def test_more_bits_and_more_channels_cost_less(bank: Bank, found: Sensitivities) -> None:
    assert set(found.weights) == set(found.activations) == set(found.sparsity) == set(bank.structure.layers)
    for losses in found.weights.values():
        ordered = [losses[bits] for bits in BITS]
        assert all(a > b for a, b in itertools.pairwise(ordered[:6]))
        assert ordered[6:] == [0.0, 0.0]
    for inputs in found.activations.values():
        assert inputs[4] == pytest.approx(16 * inputs[6]) == pytest.approx(256 * inputs[8])
    for shares in found.sparsity.values():
        assert 0 < shares[0.25] < shares[0.5] < shares[0.9]
        assert shares["2:4"] == pytest.approx(QUADS * shares[0.5])
    assert set(found.channels) == set(bank.structure.groups)
    for name, group in bank.structure.groups.items():
        kept = found.channels[name]
        assert len(kept) == group.units
        assert kept[-1] == 0.0
        assert all(a >= b for a, b in itertools.pairwise(kept))
        assert kept[0] > 0


def test_channels_cost_what_their_removal_does(compressor: Compressor, found: Sensitivities) -> None:
    for group in compressor.structure.groups.values():
        removal = compressor.context.saliency.removal(group)
        assert removal is not None
        assert found.channels[group.name][group.units - 2] == removal.losses[0]
        assert found.channels[group.name][0] == removal.losses[group.units - 2]


def test_activations_cost_uniform_noise(bank: Bank, found: Sensitivities) -> None:
    moments = bank.moments["linear"]
    weight = bank._weights["linear"]
    step = RANGE * float(moments.covariance[0].diagonal(dim1=1, dim2=2).mean().sqrt()) / 2**4
    power = float((moments.fisher * weight.square().sum(1)).sum())
    assert found.activations["linear"][4] == pytest.approx(0.5 * power * step**2 / 12, rel=1e-4)


def test_the_last_layers_loss_is_the_rise_of_the_cross_entropy(tiny: Target) -> None:
    """Where nothing comes behind, the prediction is the expansion itself: noise on the logits of its size."""
    compressor = Compressor(tiny)
    moments = compressor.context.bank.moments["linear"]
    inputs, _ = tiny.calibration.tensors()
    with torch.no_grad():
        logits = tiny.model(inputs).double()
    probabilities = logits.softmax(1)
    variances = torch.tensor([1e-4, 4e-4, 2e-4, 3e-4], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    rises = []
    for _ in range(400):
        noise = torch.randn(logits.shape, generator=generator, dtype=torch.float64) * variances.sqrt()
        # Antithetic pairs take the first order out.
        for moved in (logits + noise, logits - noise):
            rises.append(functional.cross_entropy(moved, probabilities))
    rise = float(torch.stack(rises).mean() - functional.cross_entropy(logits, probabilities))
    predicted = 0.5 * float((moments.fisher.double() * variances).sum())
    # The Fisher itself is estimated: one label is drawn for each image.
    assert rise == pytest.approx(predicted, rel=0.35)


def test_json_round_trip(found: Sensitivities) -> None:
    text = json.dumps(found.to_json())
    assert Sensitivities.from_json(json.loads(text)) == found


def test_what_is_not_asked_for_is_empty(compressor: Compressor, bank: Bank) -> None:
    plain: Any = sensitivities(bank, compressor.context.saliency, bits=(4,))
    assert plain.sparsity == plain.activations == {}
    assert set(plain.weights["conv1"]) == {4}


def test_losses_of_a_configuration() -> None:
    found = Sensitivities(
        channels={"group": (4.0, -1e-9, 0.0)},
        weights={"a": {2: 3.0, 4: 1.0}, "b": {4: math.nan}},
        sparsity={"a": {0.5: 0.25, "2:4": 0.5}},
        activations={"a": {8: 0.125}},
    )

    def loss(layer: str, told: Sensitivities = found, **choices: Any) -> float | None:
        named: dict[str, Any] = {name: {layer: value} for name, value in choices.items()}
        return told.of_layer(layer, Configuration(**named))

    assert loss("a") == loss("b") == loss("unheard") == 0
    assert loss("a", weight_bits=4) == 1
    assert loss("a", weight_bits=2, sparsity="2:4", activation_bits=8) == 3.625
    assert loss("a", sparsity=0.5) == 0.25
    assert loss("a", weight_bits=16) == 0
    for choice in ({"weight_bits": 3}, {"sparsity": 0.9}, {"activation_bits": 4}):
        assert loss("a", **choice) is None  # not of the space
        assert loss("unheard", **choice) is None
    assert loss("b", weight_bits=4) is None  # not finite
    # Inputs of eight bits everywhere are no choice of a search; without any prediction nothing is known.
    fixed = replace(found, activations={})
    assert loss("a", fixed, weight_bits=4, activation_bits=8) == 1
    assert loss("a", Sensitivities({}, {}, {}, {}), activation_bits=8) is None
    assert [found.of_group("group", kept) for kept in (1, 2, 3)] == [4, 0, 0]
    assert found.of_group("group", 4) is None
    assert found.of_group("unheard", 1) is None
