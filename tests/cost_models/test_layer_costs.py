"""Layers told by a coverage report cost what the cost models say of the model itself."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.artifact.layer_costs import layer_costs
from leanfront.core.compressors.coverage_report import coverage
from leanfront.core.cost_models import Costs
from leanfront.core.cost_models.macs import MacModel
from leanfront.core.targets import Target


def with_inputs(subject: Any, configuration: Configuration, seed: int) -> Configuration:
    """With bits of some inputs too."""
    choice = random.Random(seed)
    bits = {layer: choice.choice([4, 8, 32]) for layer in subject.structure.layers}
    changed = configuration.change(
        activation_bits=bits, activation_range=choice.choice(["percentile", "dynamic"])
    )
    found: Configuration = subject.structure.canonical(changed)
    return found


def require_sums(subject: Any, draw: Callable[..., Configuration]) -> None:
    model, costs = MacModel(subject.profile), Costs(subject.profile)
    report = coverage(subject.structure, model.layers, model.dense, {})
    told = json.loads(json.dumps(report.to_json()))
    for seed in range(8):
        configuration = with_inputs(subject, draw(subject.structure, seed), seed)
        shapes, whole = subject.structure.shapes(configuration), costs.of(configuration)
        found = layer_costs(told, configuration)
        assert list(found) == list(subject.structure.layers)
        called = [name for name in found if name in model.layers]
        assert {name: found[name].macs for name in called} == {
            name: model.layer(name, shapes[name]) for name in called
        }
        assert all(cost.macs.is_integer() and cost.macs <= cost.dense_macs for cost in found.values())
        assert all(cost.macs == 0 for name, cost in found.items() if name not in called)
        assert whole["macs"] - sum(cost.macs for cost in found.values()) >= 0
        assert whole["memory_bytes"] - sum(cost.bytes for cost in found.values()) >= 0
    dense = layer_costs(told, Configuration())
    assert sum(cost.macs for cost in dense.values()) == sum(model.layers[name] for name in called)


def test_families(family: Any, draw_configuration: Callable[..., Configuration]) -> None:
    require_sums(family, draw_configuration)


@pytest.mark.parametrize("name", ["digits", "tiny"])
def test_targets(
    name: str, request: pytest.FixtureRequest, subject_for: Any, draw_configuration: Any
) -> None:
    target: Target = request.getfixturevalue(name)
    require_sums(subject_for(target), draw_configuration)
