"""Costs of many configurations at once are those of each alone, to the last bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models import COST_MODELS, Costs, CostTable, Profile
from leanfront.core.cost_models.batch import BatchedCost
from leanfront.testing import CostModelConformance
from leanfront.testing.cost_models import Subject, built, chosen, grid

BATCHED = ("macs", "bops", "sparse_macs", "memory_bytes", "activation_memory_bytes")


@pytest.mark.parametrize("rule", ["percentile", "dynamic"])
@pytest.mark.parametrize("sparsity", [(0.95, 0.5, 0.1, 0.0), ("2:4", 0.0), (0.0,)])
def test_a_batch_costs_what_each_costs(family: Subject, sparsity: tuple[Any, ...], rule: str) -> None:
    """Of all families, as the suite of cost models has it for a small network."""
    suite = CostModelConformance()
    assert set(Costs(family.profile).batched) == set(BATCHED)
    for name in BATCHED:
        cost = built(COST_MODELS[name], family)
        suite.test_a_batch_costs_what_each_costs(cost, family, sparsity, rule)


def test_a_table_knows_costs_without_a_batched_form(families: Any) -> None:
    subject = families("resnet18")
    profile: Profile = subject.profile
    costs = Costs(profile)
    choices = grid(subject.structure, (0.95, 0.5, 0.1, 0.0))
    names = ("file_bytes", "memory_bytes")

    def make(picked: Any) -> Configuration:
        return chosen(subject.structure, choices, [picked[name] for name in choices], "percentile")

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
