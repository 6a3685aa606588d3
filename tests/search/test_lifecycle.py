"""Searches on a real model, a real database, real processes."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.objectives import METRICS, minimisation, nondominated, resolve
from leanfront.core.objectives.metrics import metrics_of
from leanfront.core.search import (
    Candidate,
    Place,
    Run,
    SearchOptions,
    SearchRecord,
    SpaceOptions,
    start,
)
from leanfront.core.search import resume as resume_search
from leanfront.core.search.driver import objective_values
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.search.prepared_target import prepare
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.core.targets import resolve as resolve_target
from leanfront.errors import NameTakenError, NotFoundError, TargetError, UsageError
from leanfront.options import divided


@pytest.fixture
def store(tmp_path: Path) -> FrontierStore:
    return FrontierStore(f"sqlite:///{tmp_path}/search.db")


def _story(store: FrontierStore, name: str) -> list[tuple[object, ...]]:
    """What a search did, without what may differ between runs (ids, times)."""
    digests = {c.id: c.configuration.digest for c in store.candidates(name, failed=True)}
    return [
        (t.number, dict(t.parameters), dict(t.attributes), digests[t.candidate], t.values, t.duplicate)
        for t in store.trials(name)
    ]


@dataclass(frozen=True)
class Whole:
    """A search that nothing disturbed."""

    store: FrontierStore
    record: SearchRecord
    reports: list[Any]

    @property
    def story(self) -> list[tuple[object, ...]]:
        return _story(self.store, self.record.name)


@pytest.fixture(scope="module")
def whole(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A search of 40 trials with the default settings: others are compared with it."""
    with FrontierStore(f"sqlite:///{tmp_path_factory.mktemp('whole')}/search.db") as store:
        reports: list[Any] = []
        record = start(tiny, store, "a", SearchOptions(trials=40), Run(report=reports.append))
        yield Whole(store, record, reports)


def test_search_end_to_end(tiny: Target, whole: Whole) -> None:
    store, record, reports = whole.store, whole.record, whole.reports
    assert record.state == "done"
    assert record.trials == 40
    assert record.fingerprint == tiny.fingerprint
    assert record.reference["accuracy"] == 0.25
    assert record.settings["splits"] == {"calibration": 128, "validation": 200, "test": 120}
    assert len([r for r in reports if r.stage == "trials"]) == 40
    assert reports[-1].hypervolume == pytest.approx(record.hypervolume)
    candidates = list(store.candidates("a"))
    objectives = resolve(record.objectives)
    points = np.asarray([minimisation(objectives, objective_values(c, objectives) or ()) for c in candidates])
    assert {c.id for c, keep in zip(candidates, nondominated(points), strict=True) if keep} == {
        c.id for c in store.frontier("a")
    }
    assert record.frontier_size == len(store.frontier("a"))
    for candidate in store.frontier("a"):
        assert candidate.value("accuracy", "test") is not None
    assert any(c.value("accuracy", "test") is None for c in candidates if not c.on_frontier)


def test_stored_measurements_are_those_of_the_rebuilt_module(tiny: Target, store: FrontierStore) -> None:
    start(tiny, store, "a", SearchOptions(trials=25, criterion="taylor"))
    prepared = prepare(tiny, SpaceOptions())
    evaluator = Evaluator(tiny, prepared.structure)
    for candidate in itertools.islice(store.candidates("a"), 8):
        again = evaluator.evaluate(candidate.configuration)
        assert again.reason is None
        assert dict(again.kept) == dict(candidate.kept)
        for measurement in again.measurements:
            assert candidate.value(measurement.name, "validation") == pytest.approx(
                measurement.value, abs=1e-6
            )
        assert prepared.costs.of(candidate.configuration) == {
            m.name: m.value for m in candidate.measurements if m.split == ""
        }


def test_same_seed_same_search(tiny: Target, store: FrontierStore, whole: Whole) -> None:
    start(tiny, store, "same", SearchOptions(trials=40, seed=0))
    start(tiny, store, "other", SearchOptions(trials=20, seed=4))
    assert _story(store, "same") == whole.story
    assert _story(store, "other") != whole.story[:20]


class _StopAt:
    """A progress report that behaves like Ctrl-C after some trials."""

    def __init__(self, trials: int) -> None:
        self.trials = trials

    def __call__(self, progress: object) -> None:
        if progress.trials == self.trials:  # type: ignore[attr-defined]
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [1, 17, 39, 40])
def test_interrupted_search_resumes_like_an_uninterrupted_one(
    tiny: Target, store: FrontierStore, whole: Whole, stop: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        start(tiny, store, "parts", SearchOptions(trials=40, sampler="auto"), Run(report=_StopAt(stop)))
    assert store.search("parts").state == "cancelled"
    assert store.search("parts").trials == stop
    record = resume_search(tiny, store, "parts")
    assert record.state == "done"
    assert _story(store, "parts") == whole.story
    assert record.hypervolume == pytest.approx(whole.record.hypervolume)


def test_resume_reaches_further(tiny: Target, store: FrontierStore) -> None:
    start(tiny, store, "a", SearchOptions(trials=10))
    assert resume_search(tiny, store, "a", trials=15).trials == 15
    assert resume_search(tiny, store, "a").trials == 15
    for wrong in ({"minutes": 0}, {"trials": 0}):
        with pytest.raises(UsageError, match="not 0"):
            resume_search(tiny, store, "a", **wrong)
        assert (store.search("a").state, store.search("a").trials) == ("done", 15)


def test_duplicates_are_answered_from_the_store(tiny: Target, store: FrontierStore) -> None:
    options = SearchOptions(trials=60, bits=(2, 8), sampler="random")
    tight = dataclasses.replace(options)
    start(tiny, store, "a", tight)
    trials = store.trials("a")
    candidates = list(store.candidates("a", failed=True))
    assert len({c.configuration.digest for c in candidates}) == len(candidates)
    assert (
        len(candidates) == len({t.candidate for t in trials}) == len([t for t in trials if not t.duplicate])
    )


def test_failures_are_recorded_and_the_search_goes_on(tiny_file: Path, store: FrontierStore) -> None:
    target = resolve_target(f"{tiny_file}:breaks")
    record = start(target, store, "a", SearchOptions(trials=60))
    assert record.state == "done"
    failed = [c for c in store.candidates("a", failed=True) if c.state == "failed"]
    reasons = {c.reason for c in failed}
    assert any("NaN" in (r or "") for r in reasons)
    assert any("twelve is not to its taste" in (r or "") for r in reasons)
    assert not any(c.on_frontier for c in failed)
    for candidate in failed:
        assert candidate.configuration.channels["conv3"] in (12, 14)
    assert all(c.configuration.channels.get("conv3", 16) not in (12, 14) for c in store.candidates("a"))


@pytest.mark.slow
def test_pool_gives_the_same_measurements(tiny: Target, store: FrontierStore) -> None:
    # Without races: whom a candidate races against depends on who came back first.
    options = SearchOptions(trials=30, sampler="random", false_elimination=0.0)
    start(tiny, store, "alone", options)
    start(tiny, store, "pool", options, Run(place=Place(workers=2)))
    alone = {c.configuration.digest: c for c in store.candidates("alone")}
    pool = {c.configuration.digest: c for c in store.candidates("pool")}
    # A random sampler draws by trial number alone, so both try the same configurations.
    assert alone.keys() == pool.keys()
    for digest, candidate in alone.items():
        assert pool[digest].accuracy == pytest.approx(candidate.accuracy, abs=1e-6)
    assert {c.configuration.digest for c in store.frontier("pool")} == {
        c.configuration.digest for c in store.frontier("alone")
    }
    assert sorted(t.number for t in store.trials("pool")) == list(range(30))
    assert all(c.value("accuracy", "test") is not None for c in store.frontier("pool"))


@pytest.mark.slow
def test_dying_pool_processes_are_replaced(
    tiny_file: Path, store: FrontierStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_DRIVER", str(os.getpid()))
    target = resolve_target(f"{tiny_file}:dies")
    # Without costs the search begins at the dense end of the space, where nothing is cut.
    record = start(
        target,
        store,
        "a",
        SearchOptions(trials=4, objectives=("accuracy", "cross_entropy")),
        Run(place=Place(workers=2)),
    )
    assert record.state == "done"
    assert record.trials == 4
    failed = [c for c in store.candidates("a", failed=True) if c.state == "failed"]
    assert failed
    for candidate in failed:
        assert "process that evaluated it died" in (candidate.reason or "")
        assert "conv1" in candidate.configuration.channels
    assert [c for c in store.candidates("a") if "conv1" not in c.configuration.channels]


def test_minutes_end_with_the_best_so_far(tiny: Target, store: FrontierStore) -> None:
    record = start(tiny, store, "a", SearchOptions(trials=100_000, minutes=6 / 60))
    assert record.state == "done"
    assert 0 < record.trials < 100_000
    assert "time limit" in (record.message or "")
    assert all(c.value("accuracy", "test") is not None for c in store.frontier("a"))


def test_taken_name_changes_nothing(tiny: Target, store: FrontierStore) -> None:
    start(tiny, store, "a", SearchOptions(trials=5))
    before = _story(store, "a")
    with pytest.raises(NameTakenError, match="'a'"):
        start(tiny, store, "a", SearchOptions(trials=9))
    assert _story(store, "a") == before


def test_resume_refuses_another_target(tiny: Target, store: FrontierStore) -> None:
    start(tiny, store, "a", SearchOptions(trials=5))
    inputs, labels = tiny.validation.tensors()
    other = Target(
        model=tiny.model,
        example_input=tiny.example_input,
        calibration=tiny.calibration,
        validation=(inputs[:100], labels[:100]),
        classes=tiny.classes,
    )
    said = (
        r"other data: the validation split \(200 samples, now 100\) and the test split \(missing now\) differ"
    )
    with pytest.raises(TargetError, match=said):
        resume_search(other, store, "a")
    with pytest.raises(NotFoundError, match="'b'"):
        resume_search(tiny, store, "b")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials must be a whole number from 1 to 10,000,000, not 0"),
        ({"minutes": 0.0}, "minutes must be a finite number above 0"),
        ({"workers": 0}, "workers must be a whole number from 1"),
        ({"sampler": "magic"}, "unknown sampler"),
        ({"objectives": ("accuracy", "beauty")}, "unknown objective 'beauty'"),
        ({"device": "abacus"}, "unknown device"),
        ({"device": "cuda:99"}, "not here"),
        ({"samples": 1}, "samples must be a whole number from 2"),
        (
            {"false_elimination": 1.0},
            "false_elimination must be a finite number of at least 0 and below 1, not 1.0",
        ),
        ({"false_elimination": float("nan")}, "false_elimination"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        divided(options, SearchOptions, Place)


@pytest.mark.parametrize(
    "objectives",
    [
        ("accuracy", "memory"),
        ("cross_entropy", "bops", "activation_memory"),
        ("accuracy", "file_size", "macs"),
    ],
)
def test_other_objectives(tiny: Target, store: FrontierStore, objectives: tuple[str, ...]) -> None:
    record = start(tiny, store, "a", SearchOptions(trials=20, objectives=objectives))
    assert record.hypervolume > 0
    assert record.objectives == objectives
    assert store.frontier("a")


@pytest.mark.parametrize(
    "space",
    [
        {"sparsity": "unstructured", "criterion": "fisher"},
        {"sparsity": "2:4", "activation_bits": "search"},
        {"bits": (8, 16, 32), "activation_bits": "8", "criterion": "lamp"},
    ],
)
def test_other_spaces(tiny: Target, store: FrontierStore, space: dict[str, Any]) -> None:
    start(tiny, store, "a", SearchOptions(trials=15, **space))
    candidates = list(store.candidates("a", failed=True))
    assert all(c.state != "failed" for c in candidates), [c.reason for c in candidates]


def test_dense_model_is_measured_as_it_is(tiny: Target, store: FrontierStore) -> None:
    record = start(tiny, store, "a", SearchOptions(trials=3))
    dense = {(m.name, m.split): m.value for m in record.dense}
    inputs, labels = tiny.validation.tensors()
    assert dense["accuracy", "validation"] == pytest.approx(
        float((tiny.model(inputs).argmax(1) == labels).float().mean())
    )
    assert {name for name, split in dense if split == "test"} == set(metrics_of())
    assert set(METRICS) - set(metrics_of()) == {"mce", "flip_rate"}
    assert dense["pie_rate", "validation"] == dense["worst_class_drop", "test"] == 0
    assert dense["memory_bytes", ""] == 4 * sum(p.numel() for p in tiny.model.parameters())


def test_target_is_never_touched(tiny: Target, store: FrontierStore) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    compressor = Compressor(tiny)
    compressor.materialise(Configuration(channels={"conv1": 3}, weight_bits={"conv2": 2}))
    start(tiny, store, "a", SearchOptions(trials=5, criterion="fisher"))
    after = tiny.model.state_dict()
    assert all((after[name] == tensor).all() for name, tensor in before.items())


def test_failed_candidates_say_so(tiny: Target) -> None:
    candidate = Candidate(search="a", number=0, configuration=Configuration(), state="failed", reason="why")
    assert candidate.to_json()["reason"] == "why"
    assert candidate.accuracy is None


def test_search_does_not_wait_for_time_it_has_not(tiny: Target, store: FrontierStore) -> None:
    begin = time.monotonic()
    start(tiny, store, "a", SearchOptions(trials=100_000, minutes=0.001))
    assert store.search("a").state == "done"
    assert time.monotonic() - begin < 60
