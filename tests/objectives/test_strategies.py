from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from leanfront.core.objectives import STRATEGIES, nondominated, resolve, select
from leanfront.core.objectives.strategies import RHO, knee_distances, preference, register
from leanfront.errors import UsageError

TWO = resolve("accuracy,memory")
THREE = resolve("accuracy,memory,macs")

grid = st.integers(0, 6).map(float)
tables = st.tuples(st.integers(1, 9), st.just(3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=grid)
)


def points(sample: Any, table: NDArray[np.float64]) -> list[Any]:
    """Points from rows of accuracy, memory and (where there) MACs, numbered by row."""
    names = ("accuracy", "memory_bytes", "macs")
    return [sample(i, dict(zip(names, row, strict=False))) for i, row in enumerate(table.tolist())]


def scaled(table: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows of the front and their values between ideal 0 and nadir 1."""
    low = table * [-1, 1, 1]
    kept = np.flatnonzero(nondominated(low))
    front = low[kept]
    span = np.ptp(front, axis=0)
    return kept, (front - front.min(axis=0)) / np.where(span > 0, span, 1)


def test_preference_puts_the_unknown_last(sample: Any) -> None:
    rows = [{"accuracy": 0.9}, {"accuracy": 0.9, "memory_bytes": 5.0}, {"accuracy": math.nan}, {}]
    made = [sample(i, row) for i, row in enumerate(rows)]
    assert [point.id for point in sorted(made, key=preference)] == [1, 0, 2, 3]
    assert preference(sample(None, {}))[-1] == math.inf


def test_accuracy_ties_go_by_bytes_then_macs_then_id(sample: Any) -> None:
    table = np.array([[0.8, 1, 1], [0.9, 3, 1], [0.9, 2, 5], [0.9, 2, 4], [0.9, 2, 4]])
    made = points(sample, table)
    assert select(made, None, THREE).candidate is made[3]


def test_without_accuracy_the_smallest_is_chosen_and_said(sample: Any) -> None:
    made = [sample(i, {"cross_entropy": 0.5 * i, "memory_bytes": 9.0 - i}) for i in range(3)]
    answer = select(made, None, resolve("cross_entropy,memory"))
    assert answer.candidate is made[2]
    assert answer.note == "accuracy is not measured on any candidate: this is the one with the fewest bytes"


def test_knee_of_two_objectives_by_hand(sample: Any) -> None:
    # Scaled: (1, 0), (.5, .1), (0, 1): the middle lies (1 - .6) / sqrt 2 before the line through the ends.
    table = np.array([[0.5, 10], [0.7, 20], [0.9, 110]])
    made = points(sample, table)
    answer = select(made, None, TWO, strategy="knee")
    assert (answer.candidate, answer.note) == (made[1], None)
    front = np.array([[1, 0], [0.5, 0.1], [0, 1]])
    assert knee_distances(front) == pytest.approx([0, 0.4 / math.sqrt(2), 0])


def test_knee_looks_at_the_front_only(sample: Any) -> None:
    table = np.array([[0.5, 10], [0.7, 20], [0.9, 110], [0.1, 11], [0.69, 21]])
    made = points(sample, table)
    assert select(made, None, TWO, strategy="knee").candidate is made[1]


def test_knee_does_not_depend_on_units(sample: Any) -> None:
    generator = np.random.default_rng(2)
    share = np.sort(generator.random(20))
    table = np.column_stack([share, 100 * share**3 + 5, 9 * share**2 + 1])
    first = select(points(sample, table), None, THREE, strategy="knee").candidate
    second = select(points(sample, table * [0.01, 1e6, 1e-3]), None, THREE, strategy="knee").candidate
    assert first is not None
    assert second is not None
    assert first.id == second.id


@pytest.mark.parametrize(
    "table", [[[0.5, 1]], [[0.5, 1], [0.9, 2]], [[0.5, 1], [0.9, 2], [0.9, 2], [0.1, 3]]]
)
def test_knee_of_under_three_points_is_the_most_accurate(sample: Any, table: list[list[float]]) -> None:
    made = points(sample, np.array(table))
    answer = select(made, None, TWO, strategy="knee")
    assert answer.candidate is select(made, None, TWO).candidate
    assert answer.note is not None
    assert "a knee needs 3 nondominated points" in answer.note
    assert answer.to_json()["note"] == answer.note


def test_a_front_without_a_bulge_says_so(sample: Any) -> None:
    answer = select(points(sample, np.array([[1, 1], [2, 2], [3, 3]])), None, TWO, strategy="knee")
    assert answer.note == "the frontier within the budget has no bulge: no knee stands out"


def test_hyperplane_through_distinct_extremes_is_the_one_they_span() -> None:
    generator = np.random.default_rng(1)
    front = np.vstack([[0, 0.7, 1], [1, 0, 0.6], [0.8, 1, 0], generator.random((10, 3)) * 0.8 + 0.1])
    normal = np.linalg.solve(front[:3], np.ones(3))
    expected = (1 - front @ normal) / np.linalg.norm(normal) * np.sign(normal.sum())
    assert knee_distances(front) == pytest.approx(expected, abs=1e-9)
    assert knee_distances(front)[:3] == pytest.approx(np.zeros(3), abs=1e-9)


def test_costs_that_share_their_extreme_weigh_as_much_as_accuracy() -> None:
    front = np.array([[0.0, 1, 1], [1, 0, 0], [0.5, 0.2, 0.3]])
    normal = np.array([2, 1, 1]) / math.sqrt(6)
    assert knee_distances(front) == pytest.approx((front[0] - front) @ normal, abs=1e-12)


@given(tables)
def test_knee_equals_brute_force(sample: Any, table: NDArray[np.float64]) -> None:
    made = points(sample, table)
    kept, front = scaled(table)
    chosen = select(made, None, THREE, strategy="knee").candidate
    assert chosen is not None
    if len(np.unique(front, axis=0)) < 3:
        assert chosen is min(made, key=preference)
    else:
        distances = knee_distances(front)
        tied = [made[row] for row, d in zip(kept, distances, strict=True) if d >= distances.max() - 1e-9]
        assert chosen is min(tied, key=preference)


def lexicographic(table: NDArray[np.float64], columns: list[int], room: list[float]) -> list[int]:
    """Rows that survive: sort-free brute force over the columns in order."""
    low = table * [-1, 1, 1]
    left = list(range(len(table)))
    for column, width in zip(columns, room, strict=True):
        left = [i for i in left if all(low[i, column] <= low[j, column] + width for j in left)]
    return left


@given(tables, st.permutations([0, 1, 2]), st.sampled_from([0.0, 1.0, 2.0]))
def test_lexicographic_equals_brute_force(
    sample: Any, table: NDArray[np.float64], columns: list[int], tolerance: float
) -> None:
    made = points(sample, table)
    names = ["accuracy", "memory", "macs"]
    chosen = select(
        made, None, THREE, strategy="lexicographic", order=[names[i] for i in columns], tolerance=tolerance
    ).candidate
    left = lexicographic(table, columns, [tolerance, tolerance, 0.0])
    assert chosen is min((made[row] for row in left), key=preference)


def test_lexicographic_options(sample: Any) -> None:
    made = points(sample, np.array([[0.90, 50, 9], [0.89, 20, 9], [0.80, 10, 1]]))

    def chosen(**options: Any) -> Any:
        return select(made, None, THREE, strategy="lexicographic", **options).candidate

    assert chosen() is made[0]
    assert chosen(tolerance=0.015) is made[1]
    assert chosen(tolerance={"accuracy": 0.2}) is made[2]
    assert chosen(order="memory, accuracy") is made[2]
    assert chosen(order=["memory_bytes"], tolerance=100) is made[2]
    assert chosen(order=("memory", "accuracy"), tolerance={"memory_bytes": 10}) is made[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": "speed"}, "unknown objective 'speed'"),
        ({"order": []}, "must name one objective or more"),
        ({"order": "memory,memory_bytes"}, "each once"),
        ({"tolerance": -1}, "tolerance must be a finite number of 0 or more, not -1"),
        ({"tolerance": math.nan}, "not nan"),
        ({"tolerance": "wide"}, "not 'wide'"),
        ({"tolerance": {"cross_entropy": 1}}, "tolerance names cross_entropy, which the order does not"),
        ({"order": "cross_entropy"}, "has all of cross_entropy measured"),
    ],
)
def test_lexicographic_refuses(sample: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        select(points(sample, np.ones((1, 3))), None, THREE, strategy="lexicographic", **options)


@given(tables, st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 3)))
def test_chebyshev_equals_brute_force(
    sample: Any, table: NDArray[np.float64], weights: tuple[int, int, int]
) -> None:
    made = points(sample, table)
    kept, front = scaled(table)
    share = np.array(weights) / max(weights)
    score = (share * front).max(axis=1) + RHO * front.sum(axis=1)
    tied = [made[row] for row, each in zip(kept, score, strict=True) if each <= score.min() + 1e-9]
    given_weights = dict(zip(("accuracy", "memory", "macs"), weights, strict=True))
    chosen = select(made, None, THREE, strategy="chebyshev", weights=given_weights).candidate
    assert chosen is min(tied, key=preference)


def test_chebyshev_weights_steer(sample: Any) -> None:
    made = points(sample, np.array([[0.9, 100], [0.8, 40], [0.5, 10]]))

    def chosen(**weights: float) -> Any:
        return select(made, None, TWO, strategy="chebyshev", weights=weights).candidate

    assert chosen() is made[1]
    assert chosen(accuracy=100) is made[0]
    assert chosen(memory_bytes=100) is made[2]
    assert chosen(accuracy=0) is made[2]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1, 2], "weights must map objectives to numbers"),
        ({"bops": 1}, "weights name 'bops', no objective; objectives: accuracy, memory"),
        ({"memory": 1, "memory_bytes": 2}, "weights name memory twice"),
        ({"memory": -1}, "memory must be a finite number of 0 or more, not -1"),
        ({"memory": True}, "not True"),
        ({"memory": 0, "accuracy": 0}, "all weights are 0"),
    ],
)
def test_chebyshev_refuses(sample: Any, weights: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        select(points(sample, np.ones((1, 2))), None, TWO, strategy="chebyshev", weights=weights)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'knee' is registered already"):
        register(STRATEGIES["knee"])


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_strategy_says_what_it_is(name: str) -> None:
    assert STRATEGIES[name].name == name
    assert STRATEGIES[name].source
