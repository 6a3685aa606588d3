"""Metrics beside the dense model: measured where they are asked for, on answers that are computed once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.objectives import METRICS, Measurement
from leanfront.core.objectives.metrics import metrics_of
from leanfront.core.objectives.robust import mean_corruption_error
from leanfront.core.objectives.views import CORRUPTED, SEVERITIES, VIEWS
from leanfront.core.search import SearchOptions, start
from leanfront.core.search import resume as resume_search
from leanfront.core.search.driver import Front
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target, resolve
from leanfront.errors import EvaluationError, UsageError

EVERY = tuple(METRICS)
ALWAYS = ("accuracy", "top5_accuracy", "cross_entropy", "ece", "worst_class_drop", "pie_rate")
HARSH = Configuration(channels={"conv1": 2, "conv3": 3}, weight_bits={"conv2": 2})


@pytest.fixture(scope="module")
def pictured(tiny_file: Path) -> Target:
    return resolve(f"{tiny_file}:pictured")


@pytest.fixture(scope="module")
def structure(pictured: Target) -> Structure:
    return derive(pictured.model, pictured.example_input)


def named(evaluation: Evaluation) -> dict[str, Measurement]:
    assert evaluation.reason is None, evaluation.reason
    return {each.name: each for each in evaluation.measurements}


def test_by_default_what_costs_nothing(pictured: Target, structure: Structure) -> None:
    found = named(Evaluator(pictured, structure).evaluate(HARSH))
    assert tuple(found) == metrics_of() == ALWAYS
    assert {each.count for each in found.values()} == {200}
    assert metrics_of(("mce", "accuracy", "macs")) == (*ALWAYS, "mce")
    assert metrics_of(EVERY) == EVERY


def test_the_dense_model_differs_from_itself_by_nothing(pictured: Target, structure: Structure) -> None:
    evaluator = Evaluator(pictured, structure, metrics=EVERY)
    for split in ("validation", "test"):
        found = named(evaluator.evaluate(Configuration(), split))
        assert (found["pie_rate"].value, found["worst_class_drop"].value, found["mce"].value) == (0, 0, 1)
    assert (found["mce"].count, found["flip_rate"].count, found["accuracy"].count) == (120, 120, 120)


def test_a_candidate_is_measured_against_it(pictured: Target, structure: Structure) -> None:
    evaluator = Evaluator(pictured, structure, metrics=EVERY)
    found = named(evaluator.evaluate(HARSH))
    module = evaluator.compressor.materialise(HARSH).module
    data = pictured.validation
    inputs, labels = data.tensors()
    assert pictured.pixels is not None
    with torch.no_grad():
        own, dense = (each(inputs).argmax(1) for each in (module, pictured.model))
        assert found["pie_rate"].value == pytest.approx(float((own != dense).double().mean()), abs=0.011)
        drops = [
            float((dense[labels == c] == c).double().mean() - (own[labels == c] == c).double().mean())
            for c in range(4)
        ]
        assert found["worst_class_drop"].value == pytest.approx(max(drops), abs=0.03)
        # Of 200 samples the view has all: corrupted anew, and run through both as they are.
        view = VIEWS[CORRUPTED](data, pictured.pixels)

        def right(model: nn.Module) -> torch.Tensor:
            rows = [
                torch.cat([model(batch) for batch, _ in made.batches(50)]).argmax(1) == view.labels
                for made in view.ways.values()
            ]
            return torch.stack(rows).reshape(15, len(SEVERITIES), -1)

        value, _, _ = mean_corruption_error(right(module), right(pictured.model))
    assert found["mce"].value == pytest.approx(value, rel=0.01)
    assert found["mce"].count == 200
    low, high = found["mce"].low, found["mce"].high
    assert low is not None
    assert high is not None
    assert low < found["mce"].value < high


def test_the_dense_answers_are_computed_once(pictured: Target, structure: Structure) -> None:
    evaluator = Evaluator(pictured, structure, metrics=EVERY)
    calls: list[int] = []
    evaluator.evaluate(HARSH)
    evaluator.dense._dense.register_forward_hook(lambda module, inputs, output: calls.append(len(output)))
    evaluator.evaluate(HARSH)
    assert calls == []
    evaluator.evaluate(HARSH, "test")
    # The split of 120 as it is, under 45 corruptions and once with noise.
    assert sum(calls) == 120 * 47
    evaluator.evaluate(Configuration(weight_bits={"conv1": 4}), "test")
    assert sum(calls) == 120 * 47


def test_measuring_by_name(pictured: Target, structure: Structure) -> None:
    evaluator = Evaluator(pictured, structure)
    module = evaluator._folded(evaluator.compressor.materialise(HARSH).module)
    found = evaluator.measure(module, "validation", ("flip_rate", "ece"))
    assert [each.name for each in found] == ["flip_rate", "ece"]
    whole = named(Evaluator(pictured, structure, metrics=EVERY).evaluate(HARSH))
    assert found[0] == whole["flip_rate"]
    assert found[1] == whole["ece"]


def test_what_cannot_be_measured_says_so(tiny: Target, structure: Structure) -> None:
    evaluator = Evaluator(tiny, structure, metrics=("accuracy", "mce"))
    reason = evaluator.evaluate(HARSH).reason
    assert reason is not None
    assert "Target(pixels=leanfront.Pixels(mean, std))" in reason
    splits = {name: getattr(tiny, name) for name in ("calibration", "validation")}
    bare = Target(model=tiny.model, example_input=tiny.example_input, **splits)
    with pytest.raises(EvaluationError, match="the target has no 'test' split to measure on"):
        Evaluator(bare, structure).dense.logits("test")


@pytest.fixture
def store(tmp_path: Path) -> FrontierStore:
    return FrontierStore(f"sqlite:///{tmp_path}/search.db")


def test_a_search_by_a_view(pictured: Target, store: FrontierStore) -> None:
    """Corruption error as an objective: every candidate has it, nobody races."""
    options = SearchOptions(trials=6, sampler="random", objectives=("accuracy", "mce", "memory"))
    record = start(pictured, store, "a", options)
    assert record.objectives == ("accuracy", "mce", "memory")
    assert record.reference["mce"] == 2.0
    assert record.settings["metrics"] == [*ALWAYS, "mce"]
    found = list(store.candidates("a", failed=True))
    assert {each.state for each in found} == {"complete"}
    for each in found:
        measured = each.measurement("mce", "validation")
        assert measured is not None
        assert measured.count == 200
        assert each.value("flip_rate") is None
    dense = {(each.name, each.split): each.value for each in record.dense}
    assert dense["mce", "validation"] == dense["mce", "test"] == 1
    # The frontier's members have it on the test split, too.
    assert all(each.value("mce", "test") is not None for each in store.frontier("a"))
    resume_search(pictured, store, "a", trials=8)
    assert all(each.value("mce") is not None for each in store.candidates("a"))
    assert store.search("a").trials == 8


def test_metrics_beside_the_objectives(pictured: Target, store: FrontierStore) -> None:
    options = SearchOptions(trials=4, sampler="random", metrics=("flip_rate",))
    assert SearchOptions.read(options.to_json()) == options
    start(pictured, store, "a", options)
    assert all(each.value("flip_rate") is not None for each in store.candidates("a"))
    assert all(each.value("mce") is None for each in store.candidates("a"))
    # What was asked for once is measured when the search goes on.
    resume_search(pictured, store, "a", trials=6)
    flips = [each.measurement("flip_rate", "validation") for each in store.candidates("a")]
    assert {each.count for each in flips if each is not None} == {200}
    assert None not in flips


def test_calibration_as_an_objective(digits: Target, store: FrontierStore) -> None:
    options = SearchOptions(
        trials=4, sampler="random", objectives=("accuracy", "ece", "memory"), metrics=("mce",)
    )
    record = start(digits, store, "a", options)
    assert record.state == "done"
    found = list(store.candidates("a", failed=True))
    assert len(found) == 4
    for each in found:
        assert each.state == "complete", each.reason
        assert 0 <= (each.value("ece") or 0) <= 1
        mce = each.measurement("mce", "validation")
        assert mce is not None
        assert mce.count == 200


def test_nobody_races_where_more_than_accuracy_is_measured() -> None:
    from leanfront.core.objectives import resolve as resolve_objectives

    costs = {"memory_bytes": 100.0, "macs": 100.0}
    for names, races in (
        (("accuracy", "memory"), True),
        (("accuracy", "ece", "memory"), False),
        (("accuracy", "mce", "memory"), False),
        (("ece", "memory"), False),
    ):
        objectives = resolve_objectives(names)
        front = Front(objectives, {each.name: 200.0 for each in objectives})
        front.add([0.5 if not each.is_cost else 50.0 for each in objectives], 1, b"x")
        assert (front.incumbent(costs) is not None) == races, names


def test_refused_before_anything_is_stored(tiny: Target, store: FrontierStore) -> None:
    with pytest.raises(UsageError, match=r"'mce \(corrupted\)' changes images"):
        start(tiny, store, "a", SearchOptions(trials=1, metrics=("mce",)))
    with pytest.raises(UsageError, match=r"'flip_rate \(noisy\)' changes images"):
        start(tiny, store, "a", SearchOptions(trials=1, objectives=("flip_rate", "memory")))
    assert store.searches() == []
    with pytest.raises(UsageError, match="unknown metrics 'beauty'; choose from accuracy"):
        SearchOptions(metrics=("beauty",))
