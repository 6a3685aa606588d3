"""Layers told by a coverage report cost the bytes that the file gives them, and the MACs of their shapes."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import torch

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.artifact.layer_costs import layer_costs
from leanfront.core.compressors.artifact.layout import layout
from leanfront.core.compressors.coverage_report import coverage
from leanfront.core.compressors.structure.derivation import derive

SPARSITY: tuple[float | str, ...] = (0.0, 0.3, 0.97, "2:4")


def told(structure: Structure, macs: dict[str, int] | None = None) -> dict[str, Any]:
    """The coverage report as a database gives it back."""
    report = coverage(structure, macs or {}, sum((macs or {}).values()), {})
    found: dict[str, Any] = json.loads(json.dumps(report.to_json()))
    return found


def draw(structure: Structure, seed: int) -> Configuration:
    """Everything that can be chosen, at random."""
    choice = random.Random(seed)
    configuration = Configuration(
        channels={
            name: choice.randint(1, group.units)
            for name, group in structure.groups.items()
            if choice.random() < 0.7
        },
        weight_bits={layer: choice.choice([2, 3, 5, 7, 8, 16, 32]) for layer in structure.layers},
        sparsity={layer: choice.choice(SPARSITY) for layer in structure.layers},
        activation_bits={layer: choice.choice([4, 8, 32]) for layer in structure.layers},
        activation_range=choice.choice(["percentile", "dynamic"]),
    )
    return structure.canonical(configuration)


OWN = ("weight", "bias", "input")
"""What the names of a layer's entries go on with, behind the layer's."""


def stored(structure: Structure, configuration: Configuration) -> dict[str, int]:
    """Layer -> bytes of its entries in the file; what is of no layer is under the empty name."""
    found = dict.fromkeys(["", *structure.layers], 0)
    for entry in layout(structure, configuration).entries:
        layer, _, tensor = entry.name.partition(":")[0].rpartition(".")
        found[layer if layer in found and tensor in OWN else ""] += entry.length
    return found


def test_layers_take_the_bytes_that_the_file_gives_them(net: Any) -> None:
    structure = derive(net.build(), torch.randn(1, 3, 8, 8))
    report = told(structure)
    for seed in range(12):
        configuration = draw(structure, seed)
        costs, shapes = layer_costs(report, configuration), structure.shapes(configuration)
        entries = stored(structure, configuration)
        whole = layout(structure, configuration).memory_bytes
        assert list(costs) == list(structure.layers)
        assert {name: cost.kept for name, cost in costs.items()} == {name: shapes[name] for name in costs}
        assert {name: cost.bytes for name, cost in costs.items()} | {"": entries[""]} == entries
        assert whole - sum(cost.bytes for cost in costs.values()) == entries[""] >= 0
    plain = {name: cost.dense_bytes for name, cost in layer_costs(report, draw(structure, 0)).items()}
    entries = stored(structure, Configuration())
    assert plain | {"": entries[""]} == entries


def test_by_hand(nets: Any) -> None:
    # conv 3 -> 8 on 8 x 8, flattened -> 10 -> 4.
    structure = derive(nets["flatten"].build(), torch.randn(1, 3, 8, 8))
    conv, hidden, last = structure.layers
    macs = {conv: 64 * 8 * 27, hidden: 512 * 10, last: 40}
    report = told(structure, macs)
    configuration = Configuration(
        channels={"conv": 2, "hidden": 4},
        weight_bits={hidden: 3},
        sparsity={hidden: 0.5},
        activation_bits={hidden: 8},
    )
    found = layer_costs(report, configuration)[hidden]
    weights = 2 * 64 * 4
    assert (found.kept.inputs, found.kept.outputs) == (128, 4)
    assert (found.dense.inputs, found.dense.outputs) == (512, 10)
    # Three bits a kept weight, a bit a weight to say which, two bytes an output, the bias, the quantiser.
    assert found.bytes == weights // 2 * 3 // 8 + weights // 8 + 4 * 2 + 4 * 4 + 5
    assert found.dense_bytes == 4 * (512 * 10 + 10)
    assert (found.macs, found.dense_macs) == (weights, 5120)
    assert layer_costs(report, configuration)[conv].macs == macs[conv] / 4


def test_reports_of_earlier_releases_tell_less(nets: Any) -> None:
    report = told(derive(nets["chain"].build(), torch.randn(1, 3, 8, 8)))
    known = ("name", "kind", "weights", "macs", "groups")
    before = [{key: row[key] for key in known} for row in report["layers"]]
    assert layer_costs({**report, "layers": before}, Configuration()) == {}
    half = [before[0], *report["layers"][1:]]
    assert list(layer_costs({**report, "layers": half}, Configuration())) == [
        row["name"] for row in report["layers"][1:]
    ]


def test_dense_bytes_are_of_the_layers_own_type(nets: Any) -> None:
    structure = derive(nets["flatten"].build(), torch.randn(1, 3, 8, 8))
    halved = {name: replace(part, dtype="float16") for name, part in structure.parts.items()}
    whole, half = (
        layer_costs(told(each), Configuration()) for each in (structure, replace(structure, parts=halved))
    )
    assert {name: cost.dense_bytes / 2 for name, cost in whole.items()} == {
        name: cost.dense_bytes for name, cost in half.items()
    }
