from __future__ import annotations

import math
from itertools import combinations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from leanfront.core.objectives import (
    Objective,
    dominates,
    hypervolume,
    nondominated,
    normalised_hypervolume,
    resolve,
    strictly_better,
)

Points = NDArray[np.float64]

coarse = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0])
wild = st.one_of(coarse, st.sampled_from([math.inf, -math.inf, 1.7e308, -1.7e308, 5e-324]))


def tables(elements: st.SearchStrategy[float], most: int = 24) -> st.SearchStrategy[Points]:
    """(n, m) arrays with many ties and duplicates."""
    shapes = st.tuples(st.integers(0, most), st.integers(1, 6))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=elements))


def frozen(points: Points) -> Points:
    """The array, made to raise when something writes into it."""
    points.flags.writeable = False
    return points


def volume(points: Points, reference: Points) -> float:
    """Inclusion-exclusion over the boxes [point, reference]: exponential, and independent of moocore."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in combinations(range(len(points)), size):
            corner = points[list(chosen)].max(axis=0)
            total -= (-1) ** size * float(np.prod(np.clip(reference - corner, 0, None)))
    return total


@given(tables(wild))
def test_nondominated_equals_brute_force(points: Points) -> None:
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert nondominated(frozen(points)).tolist() == expected


@given(tables(wild))
def test_weakly_nondominated_equals_brute_force(points: Points) -> None:
    expected = [not any(strictly_better(other, point) for other in points) for point in points]
    assert nondominated(frozen(points), weak=True).tolist() == expected


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
@pytest.mark.parametrize("infinite", [False, True])
def test_nondominated_equals_brute_force_on_many_points(objectives: int, infinite: bool) -> None:
    generator = np.random.default_rng(objectives)
    points = generator.integers(0, 9, (600, objectives)).astype(float)
    if infinite:
        points[generator.random(points.shape) < 0.05] = np.inf
        points[generator.random(points.shape) < 0.05] = -np.inf
    no_worse = np.all(points[None] <= points[:, None], axis=2)
    better = points[None] < points[:, None]
    dominated = np.any(no_worse & np.any(better, axis=2), axis=1)
    assert nondominated(points).tolist() == (~dominated).tolist()
    beaten = np.any(np.all(better, axis=2), axis=1)
    assert nondominated(points, weak=True).tolist() == (~beaten).tolist()


def test_weak_filter_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).integers(0, 5, (50, 3)).astype(float)
    whole = nondominated(points, weak=True)
    monkeypatch.setattr("leanfront.core.objectives.dominance.BLOCK", 1)
    assert (nondominated(points, weak=True) == whole).all()


def test_duplicates_of_a_nondominated_point_all_stay() -> None:
    assert nondominated([[0, 1], [0, 1], [1, 0], [1, 1], [1, 1]]).tolist() == [True, True, True, False, False]


def test_weak_keeps_what_is_equal_in_one_objective() -> None:
    points = [[0, 0], [0, 1], [1, 1]]
    assert nondominated(points).tolist() == [True, False, False]
    assert nondominated(points, weak=True).tolist() == [True, True, False]


@given(coarse, coarse, coarse, coarse)
def test_dominance_is_a_strict_order(a: float, b: float, c: float, d: float) -> None:
    left, right = (a, b), (c, d)
    assert not dominates(left, left)
    assert not (dominates(left, right) and dominates(right, left))
    assert dominates(left, right) or not strictly_better(left, right)


@settings(max_examples=60)
@given(tables(coarse, most=7))
def test_hypervolume_equals_inclusion_exclusion(points: Points) -> None:
    reference = np.full(points.shape[1], 2.0)
    assert hypervolume(frozen(points), reference) == pytest.approx(
        volume(points, reference), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("objectives", [2, 3, 4, 5, 6])
def test_hypervolume_equals_monte_carlo(objectives: int) -> None:
    generator = np.random.default_rng(objectives)
    points = generator.random((15, objectives))
    samples = generator.random((40_000, objectives))
    share = float(np.mean(np.any(np.all(points[None] <= samples[:, None], axis=2), axis=1)))
    error = math.sqrt(share * (1 - share) / len(samples))
    assert hypervolume(points, np.ones(objectives)) == pytest.approx(share, abs=5 * error)


@given(tables(coarse, most=12), st.randoms(use_true_random=False))
def test_hypervolume_is_that_of_the_front_in_any_order(points: Points, random: object) -> None:
    reference = np.full(points.shape[1], 2.5)
    whole = hypervolume(points, reference)
    assert hypervolume(points[nondominated(points)][::-1], reference) == pytest.approx(whole, rel=1e-12)


def test_hypervolume_by_hand() -> None:
    points = [[5, 5], [4, 6], [2, 7], [7, 4]]
    assert hypervolume(points, [10, 10]) == 38.0 == moocore.hypervolume(np.array(points, float), ref=[10, 10])


def test_points_outside_the_reference_contribute_nothing() -> None:
    assert hypervolume([], [1, 1]) == 0.0
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0.0
    assert hypervolume([[2.0, 0.0], [0.0, 1.0], [math.inf, 0.0]], [1, 1]) == 0.0
    assert hypervolume([[0.5, 0.5], [-9.0, 1.0]], [1, 1]) == 0.25


@pytest.mark.parametrize("call", [nondominated, lambda points: hypervolume(points, [9.0, 9.0])])
def test_nan_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"point 1 is \[nan, 1.0\]: NaN has no order"):
        call([[0.0, 1.0], [math.nan, 1.0]])  # type: ignore[operator]


@pytest.mark.parametrize("call", [dominates, strictly_better])
def test_vectors_that_cannot_be_compared(call: object) -> None:
    with pytest.raises(ValueError, match="NaN has no order"):
        call([0, math.nan], [1, 1])  # type: ignore[operator]
    with pytest.raises(ValueError, match="shapes"):
        call([0], [1, 1])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("points", "reference", "said"),
    [
        ([[0, 0]], [1, math.nan], "finite numbers"),
        ([[0, 0]], [1, math.inf], "finite numbers"),
        ([[0, 0]], 1.0, "must be a vector"),
        ([[0, 0]], [1, 1, 1], "2 objectives but the reference has 3"),
        ([[0, -math.inf]], [1, 1], "infinite volume"),
        ([0, 0], [1, 1], "shape"),
    ],
)
def test_hypervolume_refuses_what_has_no_volume(points: object, reference: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        hypervolume(points, reference)  # type: ignore[arg-type]


REFERENCE = {"accuracy": 0.1, "memory": 1000.0, "macs": 64.0}


def test_normalised_hypervolume_of_one_point_by_hand(three: tuple[Objective, ...]) -> None:
    values = [[0.9, 250.0, 16.0]]
    plain = normalised_hypervolume(values, three, REFERENCE, log2=False)
    assert plain == pytest.approx(0.8 * 0.75 * 0.75)
    assert normalised_hypervolume(values, three, REFERENCE, log2=True) == pytest.approx(0.8 * 2 * 2)


def test_minimised_metrics_gain_downwards() -> None:
    objectives = resolve("cross_entropy,memory")
    gained = normalised_hypervolume(
        [[0.3, 500.0]], objectives, {"cross_entropy": 2.3, "memory": 1000.0}, log2=True
    )
    assert gained == pytest.approx(2.0)


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.floats(1, 2000), st.floats(1, 128)).map(list), min_size=0, max_size=7
    )
)
def test_normalised_hypervolume_is_that_of_the_scaled_points(values: list[list[float]]) -> None:
    objectives = resolve("accuracy,memory,macs")
    array = np.array(values, dtype=float).reshape(-1, 3)
    plain = np.column_stack([-array[:, 0], array[:, 1] / 1000.0, array[:, 2] / 64.0])
    halvings = np.column_stack([-array[:, 0], np.log2(array[:, 1] / 1000.0), np.log2(array[:, 2] / 64.0)])
    assert normalised_hypervolume(values, objectives, REFERENCE, log2=False) == pytest.approx(
        volume(plain, np.array([-0.1, 1.0, 1.0])), abs=1e-9
    )
    assert normalised_hypervolume(values, objectives, REFERENCE, log2=True) == pytest.approx(
        volume(halvings, np.array([-0.1, 0.0, 0.0])), abs=1e-7
    )


def test_points_without_a_gain_everywhere_contribute_nothing(three: tuple[Objective, ...]) -> None:
    values = [[0.1, 10.0, 1.0], [0.9, 1000.0, 1.0], [0.9, 10.0, 65.0], [0.05, 1.0, 1.0]]
    for log2 in (False, True):
        assert normalised_hypervolume(values, three, REFERENCE, log2) == 0.0
    assert normalised_hypervolume([], three, REFERENCE, log2=True) == 0.0


def test_costs_that_are_none_are_refused(three: tuple[Objective, ...]) -> None:
    assert normalised_hypervolume([[0.6, 0.0, 32.0]], three, REFERENCE, log2=False) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="memory_bytes of 0 is no cost"):
        normalised_hypervolume([[0.6, 0.0, 32.0]], three, REFERENCE, log2=True)
    with pytest.raises(ValueError, match="macs of -1 is no cost"):
        normalised_hypervolume([[0.6, 1.0, -1.0]], three, REFERENCE, log2=False)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ({"accuracy": 0.1, "memory": 1.0}, "lacks macs"),
        ({**REFERENCE, "macs": 0.0}, "reference of macs must be positive"),
        ({**REFERENCE, "accuracy": math.nan}, "reference of accuracy must be finite"),
    ],
)
def test_references_that_are_none(
    three: tuple[Objective, ...], reference: dict[str, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        normalised_hypervolume([[0.5, 0.5, 0.5]], three, reference, log2=True)


def test_values_of_another_width_are_refused(three: tuple[Objective, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape \(n, 3\), not \(1, 2\)"):
        normalised_hypervolume([[0.5, 1.0]], three, REFERENCE, log2=True)
    with pytest.raises(ValueError, match="NaN"):
        normalised_hypervolume([[math.nan, 1.0, 1.0]], three, REFERENCE, log2=True)
