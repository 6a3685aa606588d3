from __future__ import annotations

import math

import pytest

from leanfront.core.cost_models.registry import COST_MODELS
from leanfront.core.objectives import (
    METRICS,
    Objective,
    known_objectives,
    lookup,
    measurement_name,
    minimisation,
    reference,
    resolve,
)
from leanfront.errors import UsageError


def test_names_and_aliases_mean_one_objective() -> None:
    assert resolve("accuracy, memory ,macs") == resolve(["accuracy", "memory_bytes", "macs"])
    accuracy, memory, macs = resolve("accuracy,memory,macs")
    assert (accuracy.name, accuracy.measurement, accuracy.maximise) == ("accuracy", "accuracy", True)
    assert (memory.name, memory.measurement, memory.maximise) == ("memory", "memory_bytes", False)
    assert (macs.name, macs.measurement, macs.maximise) == ("macs", "macs", False)
    assert [each.is_cost for each in (accuracy, memory, macs)] == [False, True, True]


def test_every_registered_name_resolves() -> None:
    for model in COST_MODELS.values():
        assert (
            lookup(model.name) == lookup(model.alias) == Objective(model.alias, model.name, model.unit, False)
        )
        assert measurement_name(model.alias) == measurement_name(model.name) == model.name
    for metric in METRICS.values():
        assert lookup(metric.name) == Objective(metric.name, metric.name, metric.unit, metric.maximise)
    assert {lookup(name).name for name in known_objectives()} == set(known_objectives())


def test_names_of_other_measurements_stay() -> None:
    assert measurement_name("expected_calibration_error") == "expected_calibration_error"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("accuracy,speed", "unknown objective 'speed'; known: accuracy, top5_accuracy, cross_entropy, "),
        ("accuracy,", "unknown objective ''"),
        ("accuracy,memory,memory_bytes", "more than once: memory;"),
        ("accuracy,accuracy", "more than once: accuracy;"),
        ("accuracy", "needs 2 to 6 objectives, not 1"),
        ([], "needs 2 to 6 objectives, not 0"),
        (
            "accuracy,top5_accuracy,cross_entropy,memory,macs,bops,activation_memory",
            "needs 2 to 6 objectives, not 7",
        ),
    ],
)
def test_bad_names_are_refused(names: str | list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve(names)


def test_reference_is_chance_and_the_dense_costs() -> None:
    objectives = resolve("accuracy,cross_entropy,memory,macs")
    dense = {"memory_bytes": 1000.0, "macs": 5e6, "file_bytes": 1200.0}
    assert reference(objectives, 10, dense) == {
        "accuracy": 0.1,
        "cross_entropy": math.log(10),
        "memory": 1000.0,
        "macs": 5e6,
    }


@pytest.mark.parametrize(
    "dense", [{}, {"memory_bytes": 0.0}, {"memory_bytes": math.nan}, {"memory_bytes": math.inf}]
)
def test_reference_needs_positive_dense_costs(dense: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="dense model's memory_bytes is"):
        reference(resolve("accuracy,memory"), 10, dense)


def test_reference_needs_two_classes() -> None:
    with pytest.raises(UsageError, match="at least 2 classes, not 1"):
        reference(resolve("accuracy,memory"), 1, {"memory_bytes": 1.0})


def test_minimisation_flips_what_is_maximised() -> None:
    objectives = resolve("accuracy,memory,cross_entropy")
    assert minimisation(objectives, (0.9, 100, 0.3)) == (-0.9, 100.0, 0.3)
    with pytest.raises(ValueError, match="zip"):
        minimisation(objectives, (0.9, 100))
