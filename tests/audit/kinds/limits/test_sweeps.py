"""Sweeps of a model, of its layers, and the bounds that follow."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.audit import bounds_of
from leanfront.core.audit.kinds.limits.layer_limits import layer_limit, layer_sweeps
from leanfront.core.audit.kinds.limits.sweeps import AXES, frontier
from leanfront.core.audit.versions import Configured, Dense
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.artifact.layout import memory_bytes
from leanfront.core.compressors.structure.derivation import derive
from leanfront.errors import UsageError

MAKE = partial(Configuration, criterion="reconstruction", method="bank")


@pytest.fixture(scope="module")
def wide() -> Structure:
    """Of a network whose groups have enough units for every step to differ."""
    layers = [nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 24, 3), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4))
    return derive(model.eval(), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("axis", AXES)
def test_axes_ascend_from_the_dense_model_in_nine_ratios(axis: str, wide: Structure) -> None:
    sweep = AXES[axis](wide, MAKE)
    assert sweep.points[0].version == Dense()
    assert list(sweep.ratios) == sorted(set(sweep.ratios))
    assert sweep.ratios[0] == 0
    assert len(sweep.points) >= 9
    configurations = [point.version.configuration for point in sweep.points[1:]]  # type: ignore[attr-defined]
    assert len(set(configurations)) == len(configurations)
    sizes = [memory_bytes(wide, each) for each in configurations]
    if axis != "sparsity":  # of which a few zeros cost more than they save
        assert sizes == sorted(sizes, reverse=True)


def test_axes_compress_every_part(structure: Structure) -> None:
    half = {point.ratio: point.version for point in AXES["sparsity"](structure, MAKE).points}[0.5]
    assert isinstance(half, Configured)
    assert half.configuration.sparsity == dict.fromkeys(structure.layers, 0.5)
    assert half.configuration.criterion == "reconstruction"
    cut = AXES["channels"](structure, MAKE).points[-1].version
    assert isinstance(cut, Configured)
    assert cut.configuration.channels == {"conv1": 1, "conv3": 2}


def test_the_frontier_is_ordered_by_memory_saved(structure: Structure) -> None:
    narrow, wide = (Configuration(weight_bits=dict.fromkeys(structure.layers, bits)) for bits in (2, 8))
    versions = [
        Configured("candidate 1", narrow, 1),
        Configured("candidate 2", wide, 2),
        Configured("a level", narrow),
        Configured("candidate 3", wide, 3),
    ]
    sweep = frontier(structure, versions)
    assert [point.value for point in sweep.points] == [0, 2, 1]
    dense = memory_bytes(structure, Configuration())
    assert sweep.points[1].ratio == pytest.approx(1 - memory_bytes(structure, wide) / dense)


def test_layers_are_swept_alone_and_the_largest_first(structure: Structure) -> None:
    found, left = layer_sweeps(structure, MAKE)
    assert not left
    axes = [(sweep.subject, sweep.axis) for sweep in found]
    for layer in structure.layers:
        assert (layer, "bits") in axes
        assert (layer, "sparsity") in axes
    assert [subject for subject, axis in axes if axis == "channels"] == list(structure.groups)
    for sweep in found:
        for version in sweep.versions:
            changed = {**version.configuration.channels, **version.configuration.sparsity}
            assert set(changed or version.configuration.weight_bits) == {sweep.subject}
    few, left = layer_sweeps(structure, MAKE, most=1)
    assert {sweep.subject for sweep in few if sweep.axis == "bits"} == {"conv3"}
    assert set(left) == {"conv1", "conv2", "linear"}


def _document(axis: str, ratios: list[float], values: list[float], accuracies: list[float]) -> dict[str, Any]:
    row = {
        "subject": "a",
        "axis": axis,
        "ratios": ratios,
        "values": values,
        "dense": 0.9,
        "accuracies": accuracies,
    }
    return {"layers": {"limits": [row]}}


@pytest.mark.parametrize(
    ("axis", "ratios", "values", "accuracies", "bound"),
    [
        ("bits", [0.875, 0.906, 0.938], [4, 3, 2], [0.9, 0.87, 0.6], {"bits": 4}),
        ("bits", [0.875, 0.906, 0.938], [4, 3, 2], [0.8, 0.9, 0.6], {"bits": 5}),
        ("bits", [0.875, 0.906, 0.938], [4, 3, 2], [0.9, 0.9, 0.89], {}),
        ("sparsity", [0.5, 0.9], [0.5, 0.9], [0.9, 0.8], {"sparsity": 0.58}),
        ("sparsity", [0.5, 0.9], [0.5, 0.9], [0.8, 0.7], {"sparsity": 0.1}),
        ("channels", [0.5, 0.75], [8, 4], [0.89, 0.87], {"keep": 0.375}),
    ],
)
def test_bounds_leave_out_what_costs_more(
    axis: str, ratios: list[float], values: list[float], accuracies: list[float], bound: dict[str, float]
) -> None:
    found = bounds_of(_document(axis, ratios, values, accuracies), accuracy_drop=0.02)
    assert found == ({"a": pytest.approx(bound)} if bound else {})


def test_what_is_no_limits_document_is_refused() -> None:
    documents: list[dict[str, Any]] = [{}, {"layers": []}, {"layers": {"limits": [{"subject": "a"}]}}]
    for document in documents:
        with pytest.raises(UsageError, match="no document of an audit 'limits'"):
            bounds_of(document)
    with pytest.raises(UsageError, match="accuracy_drop"):
        bounds_of({"layers": {"limits": []}}, accuracy_drop=1.0)


def test_a_layers_limit_is_its_potential(structure: Structure) -> None:
    sweep = layer_sweeps(structure, MAKE)[0][0]
    found = layer_limit(sweep, [0.9] * (len(sweep.ratios) - 1) + [0.5], 0.9)
    assert found.potential.value == pytest.approx(
        sweep.ratios[-2] + (sweep.ratios[-1] - sweep.ratios[-2]) * 0.005 / 0.4
    )
