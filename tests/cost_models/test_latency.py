"""Latency: how it is timed, what is fitted to it, and that the table says how wrong it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from leanfront.core.compressors import BankCache, Configuration
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.cost_models import (
    BACKENDS,
    COST_MODELS,
    CostModel,
    Costs,
    LatencyOptions,
    LatencyTable,
    Profile,
)
from leanfront.core.cost_models import latency as latency_module
from leanfront.core.cost_models.backends import place, processor
from leanfront.core.cost_models.latency import LatencyPlan, drawn, latency, measured, measured_table
from leanfront.core.cost_models.latency_options import Backend
from leanfront.core.cost_models.latency_table import (
    CONSTANT,
    LatencyCost,
    LatencyFeatures,
    Timed,
    fitted,
    least_squares,
)
from leanfront.core.cost_models.macs import MacModel
from leanfront.core.cost_models.registry import LATENCY
from leanfront.core.cost_models.timing import (
    FEWEST_TURNS,
    MOST_TURNS,
    TURN,
    WARM_UP,
    Run,
    Timing,
    in_turn,
    torch_threads,
)
from leanfront.errors import CompressionError, EvaluationError, StorageError, UsageError
from leanfront.testing import CostModelConformance

TORCH = LatencyOptions(backend="torch")
INTEGERS = LatencyPlan(TORCH, (2, 4, 8), (4, 8, 32))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of few configurations, timed hardly at all: what they say is not looked at."""
    for name, value in {
        "SECONDS": 0.0,
        "EACH": 0.0,
        "FEWEST_TIMED": 6,
        "MOST_TIMED": 8,
        "MEASURED": 0.0,
    }.items():
        monkeypatch.setattr(latency_module, name, value)


DENSE = Timing((4e-3, 5e-3, 7e-3), (3e-3, 2e-3, 4e-3))


class Hand:
    """A clock that runs move on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, seconds: Callable[[], float]) -> Run:
        def once() -> None:
            self.calls.append(name)
            self.now += seconds()

        return once


def test_functions_are_timed_in_turn() -> None:
    clock = Hand()
    # Everything is twice as slow from the hundredth second on: for both alike.
    pace = lambda: 1.0 if clock.now < 100 else 2.0  # noqa: E731
    first, second = in_turn(
        [clock.run("a", lambda: 2.0 * pace()), clock.run("b", lambda: 3.0 * pace())],
        200.0,
        clock=clock,
        thread_clock=lambda: clock.now / 2,
    )
    turns = len(first.seconds) // TURN
    assert clock.calls[: 2 * WARM_UP] == ["a"] * WARM_UP + ["b"] * WARM_UP
    assert clock.calls[2 * WARM_UP :] == (["a"] * (TURN + 1) + ["b"] * (TURN + 1)) * turns
    assert set(first.seconds) == {2.0, 4.0}
    assert len(second.seconds) == len(first.seconds)
    assert set(first.own) == {1.0, 2.0}
    assert first.undisturbed(1) / second.undisturbed(1) == pytest.approx(2 / 3)
    assert first.undisturbed(2) / second.undisturbed(2) == pytest.approx(2 / 3)
    begun = 10.0 + 200.0
    assert begun <= clock.now < begun + (TURN + 1) * 10.0


@pytest.mark.parametrize(("seconds", "turns"), [(0.0, FEWEST_TURNS), (1e9, MOST_TURNS)])
def test_so_many_turns_whatever_the_time(seconds: float, turns: int) -> None:
    clock = Hand()
    (found,) = in_turn([clock.run("a", lambda: 1.0)], seconds, clock=clock)
    assert found.seconds == (1.0,) * (turns * TURN)


def test_quantiles_of_runs() -> None:
    runs = np.random.default_rng(0).lognormal(size=101)
    timing = Timing(tuple(runs), tuple(runs / 2))
    assert (timing.p50, timing.p95) == (np.median(runs), np.quantile(runs, 0.95))
    assert timing.undisturbed(1) == np.median(runs) / 2
    assert timing.undisturbed(2) == np.quantile(runs, 0.1)
    odd = Timing((1.0, 2.0, 3.0, 4.0, 5.0), (6.0, 7.0, 8.0, 9.0, 10.0))
    assert odd.halves == (Timing((1.0, 2.0, 5.0), (6.0, 7.0, 10.0)), Timing((3.0, 4.0), (8.0, 9.0)))
    assert Timing((1.0, 2.0), (1.0, 1.0)).halves == (Timing((1.0, 2.0), (1.0, 1.0)),) * 2


def test_torch_gets_its_threads_back() -> None:
    before = torch.get_num_threads()

    def interrupted() -> None:
        with torch_threads(before + 1):
            assert torch.get_num_threads() == before + 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"backend": "tensorrt"}, "unknown backend 'tensorrt'; choose from onnxruntime, torch"),
        ({"threads": 0}, "threads must be a whole number from 1 to 1,024, not 0"),
        ({"batch": 5000}, "batch must be a whole number from 1 to 4,096, not 5000"),
    ],
)
def test_options_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LatencyOptions(**given)


def test_options_and_place() -> None:
    options = LatencyOptions(backend="torch", threads=2, batch=3)
    assert LatencyOptions.read(options.to_json()) == options
    found = place(options)
    assert {**found, "release": ""} == {**options.to_json(), "processor": processor(), "release": ""}
    assert torch.__version__.startswith(found["release"])
    assert processor()


def test_a_batch_takes_what_each_takes(family: Any) -> None:
    features = LatencyFeatures(family.profile, integers=True)
    configurations = drawn(family.structure, INTEGERS, 12)
    assert len({each.digest for each in configurations}) > 8
    names, _ = features.matrix(features.alone(Configuration()))
    random = np.random.default_rng(0)
    factors = dict(zip(names, random.uniform(size=len(names)), strict=True))
    for each in configurations:
        found, matrix = features.matrix(features.alone(each))
        assert found == names
        total = features.total(features.alone(each), factors)
        assert total == pytest.approx(matrix @ np.asarray([factors[name] for name in names]))
    # Everything of the dense model is in floating point, and all of its multiply-adds are counted.
    dense = dict(zip(names, features.matrix(features.alone(Configuration()))[1][0], strict=True))
    macs = sum(value for name, value in dense.items() if name.endswith("float MACs"))
    assert macs == pytest.approx(sum(MacModel(family.profile).layers.values()))
    assert not any(value for name, value in dense.items() if "integer" in name or "quantised" in name)


def synthetic(features: LatencyFeatures, configurations: Sequence[Configuration], noise: float) -> Timed:
    """Latencies that are combinations of the features, with noise."""
    random = np.random.default_rng(1)
    rows = [features.matrix(features.alone(each)) for each in configurations]
    names, matrix = rows[0][0], np.vstack([row for _, row in rows])
    wanted = [n == CONSTANT or n.endswith(("float MACs", "float outputs")) for n in names]
    factors = np.asarray(wanted) / np.maximum(matrix[0], 1.0)
    times = matrix @ factors * np.exp(noise * random.standard_normal(len(matrix)))
    ratios = times / times[0]
    return Timed(tuple(configurations), tuple(ratios), tuple((ratio, ratio * 1.02) for ratio in ratios))


def test_a_fit_finds_what_there_is(families: Any) -> None:
    profile: Profile = families("resnet18").profile
    features = LatencyFeatures(profile, integers=False)
    known = [Configuration(), *drawn(profile.structure, LatencyPlan(TORCH), 40)]
    unknown = [Configuration(), *drawn(profile.structure, LatencyPlan(TORCH, seed=1), 40)]
    table = fitted(features, synthetic(features, known, 0.0), place(TORCH), DENSE)
    assert (table.dense_ms, table.runs, table.configurations) == (3.0, 3, 41)
    assert (table.dense_p50, table.dense_p95) == pytest.approx((5.0, 6.8))
    assert table.errors["worst"] < 1e-3
    assert table.errors["noise"] == pytest.approx(1 - 1 / 1.02)
    cost = LatencyCost(features, table)
    expected = 3.0 * np.asarray(synthetic(features, unknown, 0.0).ratios)
    assert [cost(each) for each in unknown] == pytest.approx(expected.tolist(), rel=1e-3)
    assert cost.bounds(2.0) == pytest.approx((2.0, 2.0), rel=1e-3)


class TestLatency(CostModelConformance):
    """Of a table that was not measured, which would take a minute."""

    falls_with = ()  # what a kernel does at once takes as long for fewer channels

    @pytest.fixture
    def cost_model(self) -> CostModel:
        return replace(COST_MODELS["latency_ms"], build=told_latency)


def told_latency(profile: Profile) -> LatencyCost:
    """Latency by a table that is fitted to made-up times."""
    features = LatencyFeatures(profile, integers=False)
    timed = synthetic(features, [Configuration(), *drawn(profile.structure, LatencyPlan(TORCH), 24)], 0.1)
    return LatencyCost(features, fitted(features, timed, place(TORCH), DENSE))


def test_fewer_channels_take_less_time(families: Any) -> None:
    profile: Profile = families("resnet18").profile
    features = LatencyFeatures(profile, integers=False)
    timed = synthetic(features, [Configuration(), *drawn(profile.structure, LatencyPlan(TORCH), 40)], 0.1)
    cost = LatencyCost(features, fitted(features, timed, place(TORCH), DENSE))
    # At multiples of what kernels take at once: in between fewer channels may well take longer.
    kept = [
        cost(profile.structure.canonical(Configuration(dict.fromkeys(profile.structure.groups, 16 * k))))
        for k in (1, 2, 3, 4)
    ]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1]


def test_the_error_is_that_of_fits_without_the_configuration(families: Any) -> None:
    profile: Profile = families("resnet18").profile
    features = LatencyFeatures(profile, integers=False)
    timed = synthetic(features, [Configuration(), *drawn(profile.structure, LatencyPlan(TORCH), 16)], 0.2)
    table = fitted(features, timed, place(TORCH), DENSE)
    matrix = np.vstack([features.matrix(features.alone(each))[1] for each in timed.configurations])
    ratios, errors, actual = np.asarray(timed.ratios), [], []
    scale = np.maximum(matrix.max(axis=0), 1e-12)
    for row in range(1, len(ratios)):
        others = [i for i in range(len(ratios)) if i != row]
        solution, _ = nnls(matrix[others] / scale / ratios[others, None], np.ones(len(others)))
        predicted = matrix[row] / scale @ solution
        errors.append(abs(predicted / ratios[row] - 1))
        actual.append(ratios[row] / predicted)
    assert table.errors["median"] == pytest.approx(np.median(errors), rel=1e-4)
    assert table.errors["worst"] == pytest.approx(max(errors), rel=1e-4)
    assert table.errors["median"] > 0.02
    low, high = LatencyCost(features, table).bounds(1.0)
    assert (low, high) == pytest.approx(np.quantile(actual, [0.025, 0.975]), rel=1e-4)
    assert low < 1 < high


def test_factors_are_never_negative() -> None:
    matrix = np.asarray([[1.0, 0.0, 2.0], [1.0, 0.0, 1.0], [1.0, 0.0, 3.0]])
    assert least_squares(matrix, np.asarray([1.0, 2.0, 0.5])) == pytest.approx([0.7, 0, 0], abs=0.3)
    assert (least_squares(matrix, np.asarray([1.0, 2.0, 0.5])) >= 0).all()


def test_a_table_is_read_as_it_was_written(families: Any) -> None:
    profile: Profile = families("vit").profile
    features = LatencyFeatures(profile, integers=False)
    timed = synthetic(features, [Configuration(), *drawn(profile.structure, LatencyPlan(TORCH), 9)], 0.1)
    table = fitted(features, timed, place(LatencyOptions(backend="torch", threads=2, batch=3)), DENSE)
    content = json.dumps(table.to_json(), allow_nan=False)
    assert LatencyTable.from_json(json.loads(content)) == table
    assert table.options == LatencyOptions(backend="torch", threads=2, batch=3)
    with pytest.raises(StorageError, match="this latency table has version 99; this release reads 1"):
        LatencyTable.from_json({**table.to_json(), "version": 99})


class Counted:
    """A backend whose runs take a time that is known: 5, and 1 for every thousand multiply-adds."""

    def __init__(self, profile: Profile, options: LatencyOptions) -> None:
        self.macs = MacModel(profile)
        self.batch = options.batch

    def run(self, compressed: Compressed) -> Run:
        if compressed.configuration.channels and len(compressed.configuration.channels) % 7 == 3:
            raise CompressionError("not three of seven")
        seconds = self.batch * (5 + 1e-3 * sum(self.macs.layers_many(self.alone(compressed))[0]))
        return lambda: seconds

    def alone(self, compressed: Compressed) -> Any:
        return self.features.alone(compressed.configuration)


def told(runs: Sequence[Run], seconds: float) -> list[Timing]:
    """What the runs say that they take."""
    return [Timing((2 * run(),) * 4, (run(),) * 4) for run in runs]  # type: ignore[operator, arg-type]


@pytest.fixture
def counted(families: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Profile]:
    """A profile, with the backend `Counted`."""
    profile: Profile = families("mobilenet_v2").profile
    Counted.features = LatencyFeatures(profile, integers=False)  # type: ignore[attr-defined]
    monkeypatch.setitem(BACKENDS, "counted", Backend("counted", False, Counted))
    monkeypatch.setattr(latency_module, "place", lambda options: options.to_json())
    return profile


def test_a_table_is_measured(counted: Profile) -> None:
    features = LatencyFeatures(counted, integers=False)
    plan = LatencyPlan(LatencyOptions(backend="counted", batch=2))
    table = measured_table(counted, features, plan, time_in_turn=told)
    assert table.place == {"backend": "counted", "threads": 1, "batch": 2}
    assert table.errors["worst"] < 1e-3
    assert table.errors["noise"] == 0
    cost = LatencyCost(features, table)
    backend = Counted(counted, plan.options)
    for each in drawn(counted.structure, LatencyPlan(plan.options, seed=9), 20):
        dense = Compressed(counted.model, each)
        try:
            expected = 1e3 * backend.run(dense)()  # type: ignore[operator]
        except CompressionError:
            continue
        assert cost(each) == pytest.approx(expected, rel=1e-3)


def test_a_model_that_does_not_run_is_refused(counted: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Counted, compressed: Compressed) -> Run:
        if compressed.configuration.is_dense:
            return lambda: 1.0
        raise CompressionError("will not run")

    monkeypatch.setattr(Counted, "run", never)
    features = LatencyFeatures(counted, integers=False)
    with pytest.raises(CompressionError, match="will not run"):
        measured_table(counted, features, LatencyPlan(LatencyOptions(backend="counted")), time_in_turn=told)


def test_what_cannot_change_is_not_measured(make_subject: Any) -> None:
    profile: Profile = make_subject(torch.nn.Linear(4, 3), (4,)).profile
    plan = LatencyPlan(TORCH, weight_bits=(32,), activation_bits=(32,))
    features = LatencyFeatures(profile, integers=False)
    with pytest.raises(EvaluationError, match="no configuration of this model changes its latency"):
        measured_table(profile, features, plan, time_in_turn=told)


@pytest.mark.usefixtures("quick")
def test_a_table_is_measured_once(families: Any, tmp_path: Path) -> None:
    profile: Profile = families("vit").profile
    cache = BankCache(tmp_path)
    plan = LatencyPlan(TORCH)

    def files() -> list[Path]:
        return sorted((tmp_path / "latency").rglob("*.safetensors"))

    first = latency(profile, plan, cache=cache).table
    assert len(files()) == 1
    assert latency(profile, plan, cache=cache).table == first
    (kept,) = files()
    # What is damaged is measured again: single runs of the dense model never take the same time to the last digit.
    content = kept.read_bytes()
    kept.write_bytes(content[:-9] + b"tampered!")
    again = latency(profile, plan, cache=cache).table
    assert again != first
    assert len(files()) == 1
    assert latency(profile, plan, cache=cache).table == again
    # A table that is given is taken, whatever is kept.
    assert latency(profile, plan, first, cache=cache).table == first
    for other in (
        LatencyPlan(LatencyOptions(backend="torch", threads=2)),
        LatencyPlan(LatencyOptions(backend="torch", batch=2)),
        LatencyPlan(TORCH, activation_bits=(8,)),
        LatencyPlan(TORCH, activation_range="dynamic"),
    ):
        assert latency(profile, other, cache=cache).table.options == other.options
    assert len(files()) == 5
    latency(families("densenet").profile, plan, cache=cache)
    assert len(files()) == 6


@pytest.mark.usefixtures("quick")
def test_latency_is_a_cost_where_it_is_asked_for(families: Any) -> None:
    profile: Profile = families("vit").profile
    assert LATENCY not in Costs(profile).of(Configuration())
    assert LATENCY not in Costs(profile).unavailable
    cost = latency(profile, LatencyPlan(TORCH))
    costs = Costs(profile, [LATENCY], {LATENCY: cost})
    assert costs.of(Configuration())[LATENCY] == cost(Configuration())
    assert LATENCY in costs.batched
    low, high = costs.bounds(LATENCY, 2.0)
    assert low is not None
    assert high is not None
    assert low <= 2.0 <= high
    assert costs.bounds("memory_bytes", 2.0) == (None, None)


@pytest.mark.usefixtures("quick")
def test_single_latencies(families: Any) -> None:
    profile: Profile = families("vit").profile
    threads = torch.get_num_threads()
    found = measured(profile, TORCH, drawn(profile.structure, INTEGERS, 2))
    assert len(found) == 2
    assert all(len(timing.seconds) == FEWEST_TURNS * TURN for timing in found)
    assert all(0 < timing.p50 <= timing.p95 for timing in found)
    assert torch.get_num_threads() == threads


def test_drawn_configurations_are_of_the_plan(families: Any) -> None:
    structure = families("mobilenet_v2").structure
    plan = LatencyPlan(weight_bits=(3, 8), activation_bits=(4, 8, 32), activation_range="dynamic")
    found = drawn(structure, plan, 40)
    assert found == drawn(structure, plan, 40)
    assert {bits for each in found for bits in each.weight_bits.values()} == {3, 8}
    assert {bits for each in found for bits in each.activation_bits.values()} == {4, 8}
    assert len({tuple(each.activation_bits.items()) for each in found}) == 5
    assert all(structure.canonical(each) == each for each in found)
    kept = [sum(each.channels.get(n, g.units) for n, g in structure.groups.items()) for each in found]
    units = sum(group.units for group in structure.groups.values())
    assert kept[1] == units
    assert min(kept) == kept[0] < units / 4
