"""Costs of many configurations at once are those of each alone, to the last bit."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.cost_models import Costs, CostTable, Profile
from leanfront.core.cost_models.batch import BatchedCost, Encoder

BATCHED = ("macs", "bops", "sparse_macs", "memory_bytes", "activation_memory_bytes")


@dataclass(frozen=True)
class Choice:
    kind: str
    subject: str
    values: tuple[Any, ...]


def grid(structure: Structure, sparsity: tuple[Any, ...] = (0.95, 0.5, 0.1, 0.0)) -> dict[str, Choice]:
    """Everything that can be chosen, all group sizes included."""
    choices = [Choice("channels", g.name, tuple(range(1, g.units + 1))) for g in structure.groups.values()]
    for layer in structure.layers:
        choices.append(Choice("weight", layer, (2, 3, 5, 8, 16, 32)))
        choices.append(Choice("activation", layer, (4, 8, 32)))
        choices.append(Choice("sparsity", layer, sparsity))
    return {f"{choice.kind}/{choice.subject}": choice for choice in choices}


def configuration(structure: Structure, choices: dict[str, Choice], row: Any, rule: str) -> Configuration:
    picked: dict[str, dict[str, Any]] = {"channels": {}, "weight": {}, "activation": {}, "sparsity": {}}
    for choice, index in zip(choices.values(), row, strict=True):
        picked[choice.kind][choice.subject] = choice.values[index]
    return structure.canonical(
        Configuration(
            channels=picked["channels"],
            weight_bits=picked["weight"],
            activation_bits=picked["activation"],
            sparsity=picked["sparsity"],
            activation_range=rule,
        )
    )


@pytest.mark.parametrize("rule", ["percentile", "dynamic"])
@pytest.mark.parametrize("sparsity", [(0.95, 0.5, 0.1, 0.0), ("2:4", 0.0), (0.0,)])
def test_a_batch_costs_what_each_costs(family: Any, sparsity: tuple[Any, ...], rule: str) -> None:
    structure = family.structure
    costs = Costs(family.profile)
    assert set(costs.batched) == set(BATCHED)
    choices = grid(structure, sparsity)
    draw = np.random.default_rng(0)
    sizes = [len(choice.values) for choice in choices.values()]
    indices = draw.integers(0, sizes, (24, len(sizes)))
    indices[0], indices[1] = 0, np.asarray(sizes) - 1
    # Some with most choices dense: what is not changed costs what it did.
    indices[2:8] = np.where(draw.random((6, len(sizes))) < 0.8, np.asarray(sizes) - 1, indices[2:8])
    configurations = [configuration(structure, choices, row, rule) for row in indices.tolist()]
    quantised = Configuration(activation_bits=dict.fromkeys(structure.layers, 8), activation_range=rule)
    encoder = Encoder(costs.frame, choices, structure.canonical(quantised))
    found = costs.many(encoder.batch(indices), BATCHED)
    for row, alone in zip(found, configurations, strict=True):
        expected = costs.of(alone)
        assert row.tolist() == [expected[name] for name in BATCHED]


def test_a_table_knows_costs_without_a_batched_form(families: Any) -> None:
    subject = families("resnet18")
    profile: Profile = subject.profile
    costs = Costs(profile)
    choices = grid(subject.structure)
    names = ("file_bytes", "memory_bytes")

    def make(picked: Any) -> Configuration:
        return configuration(subject.structure, choices, [picked[name] for name in choices], "percentile")

    table = CostTable(costs, choices, make, names)
    assert not table.is_fast
    assert CostTable(costs, choices, make, ["macs"]).is_fast
    draw = random.Random(3)
    indices = np.asarray([[draw.randrange(len(c.values)) for c in choices.values()] for _ in range(20)])
    expected = [
        [costs.of(make(dict(zip(choices, row, strict=True))))[name] for name in names]
        for row in indices.tolist()
    ]
    assert table.exact(indices).tolist() == expected
    rough = table.approximate(indices)
    assert rough[:, 1].tolist() == [row[1] for row in expected]
    # The header's length is a small part of the file.
    assert rough[:, 0] == pytest.approx([row[0] for row in expected], rel=0.02)


def test_a_plain_function_is_no_batched_cost(families: Any) -> None:
    costs = Costs(families("resnet18").profile)
    assert not isinstance(lambda configuration: 1.0, BatchedCost)
    assert "file_bytes" not in costs.batched
