from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.objectives import Budget, Objective, Selection, resolve, select
from leanfront.errors import UsageError

NAMES = ("accuracy", "memory_bytes", "macs")
OBJECTIVES = resolve("accuracy,memory,macs")

rows = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.5, 0.5, 0.9, math.nan]),
        st.sampled_from([1.0, 2.0, 4.0]),
        st.sampled_from([10.0, 20.0, 40.0]),
        st.sampled_from([None, 0.2, 0.6]),
    ),
    max_size=8,
)
budgets = st.builds(
    lambda memory, macs, accuracy, loss: Budget(
        {k: v for k, v in (("memory", memory), ("macs", macs), ("cross_entropy", loss)) if v is not None},
        {"accuracy": accuracy} if accuracy is not None else {},
    ),
    st.sampled_from([None, 0.5, 1.0, 3.0]),
    st.sampled_from([None, 5.0, 15.0, 40.0]),
    st.sampled_from([None, 0.5, 0.95]),
    st.sampled_from([None, None, 0.1, 0.5]),
)


def points(sample: Any, table: list[tuple[float, float, float, float | None]]) -> list[Any]:
    """Points numbered from the last row, so that the order of ids differs from that of rows."""
    made = []
    for number, (accuracy, memory, macs, loss) in enumerate(table):
        values = {"accuracy": accuracy, "memory_bytes": memory, "macs": macs}
        made.append(sample(len(table) - number, values | ({} if loss is None else {"cross_entropy": loss})))
    return made


def excess(point: Any, budget: Budget) -> dict[str, float]:
    """Normalised violations from first principles."""
    shares = {}
    for sign, limits in ((1, budget.maximum), (-1, budget.minimum)):
        for name, limit in limits.items():
            value = point.values.get(name)
            share = math.inf if value is None or math.isnan(value) else sign * (value - limit) / abs(limit)
            if share > 0:
                shares[name] = share
    return shares


def order(point: Any) -> tuple[float, ...]:
    return -point.values["accuracy"], point.values["memory_bytes"], point.values["macs"], point.id


@given(rows, budgets)
def test_select_equals_brute_force(
    sample: Any, table: list[tuple[float, float, float, float | None]], budget: Budget
) -> None:
    every = points(sample, table)
    measured = [point for point in every if not math.isnan(point.values["accuracy"])]
    feasible = [point for point in measured if not excess(point, budget)]
    answer = select(every, budget, OBJECTIVES, cheapest={"memory_bytes": 1})
    assert answer == select(every[::-1], budget, OBJECTIVES, cheapest={"memory_bytes": 1})
    assert answer.feasible is bool(feasible)
    if feasible:
        assert answer == Selection(
            True, "accuracy", candidate=min(feasible, key=order), cheapest=None, violations={}
        )
    elif not measured:
        assert (answer.candidate, answer.nearest, answer.binding) == (None, None, None)
    else:
        least = min(sum(excess(point, budget).values()) for point in measured)
        tied = [p for p in measured if sum(excess(p, budget).values()) == pytest.approx(least, rel=1e-12)]
        assert answer.candidate is None
        assert answer.nearest == min(tied, key=order)
        shares = excess(answer.nearest, budget)
        assert answer.violations.keys() == shares.keys()
        assert shares[str(answer.binding)] == max(shares.values())
        for name, amount in answer.violations.items():
            limit = budget.maximum.get(name, budget.minimum.get(name, math.nan))
            assert amount / limit == pytest.approx(shares[name])
        assert answer.cheapest == {"memory_bytes": 1}


def test_json_of_a_feasible_answer(sample: Any) -> None:
    best = sample(7, dict(zip(NAMES, (0.9, 1.0, 2.0), strict=True)))
    assert select([best], None, OBJECTIVES).to_json() == {
        "feasible": True,
        "strategy": "accuracy",
        "candidate": {"id": 7, "accuracy": 0.9, "memory_bytes": 1.0, "macs": 2.0},
    }


def test_json_of_an_infeasible_answer(sample: Any) -> None:
    far = sample(1, dict(zip(NAMES, (0.9, 80_000.0, 5e6), strict=True)))
    near = sample(2, dict(zip(NAMES, (0.6, 65_234.0, 3e7), strict=True)))
    answer = select(
        [far, near], Budget.of(max_memory="64KB", max_macs="29M"), OBJECTIVES, cheapest={"macs": 1e6}
    )
    assert answer.to_json() == {
        "feasible": False,
        "nearest": near.to_json(),
        "violations": {"memory_bytes": 1234.0, "macs": 1e6},
        "binding": "macs",
        "cheapest": {"macs": 1e6},
    }


def test_a_cap_on_what_is_no_objective_is_met_by_a_dominated_candidate(sample: Any) -> None:
    front = sample(1, {"accuracy": 0.9, "memory_bytes": 1.0, "macs": 1.0, "cross_entropy": 0.9})
    behind = sample(2, {"accuracy": 0.8, "memory_bytes": 2.0, "macs": 2.0, "cross_entropy": 0.2})
    assert select([front, behind], Budget({"cross_entropy": 0.5}), OBJECTIVES).candidate is behind


def test_a_limit_that_nobody_measured_is_said(sample: Any) -> None:
    only = sample(1, dict(zip(NAMES, (0.9, 1.0, 2.0), strict=True)))
    answer = select([only], Budget({"latency_p95": 3.0}), OBJECTIVES)
    assert (answer.feasible, answer.nearest, answer.binding) == (False, only, "latency_p95")
    assert answer.note == "no candidate has latency_p95 measured"
    assert answer.to_json()["violations"] == {"latency_p95": None}


def test_nothing_to_choose_from() -> None:
    answer: Selection[Any] = select([], Budget({"macs": 1.0}), OBJECTIVES)
    assert answer.note == "there is no measured candidate yet"
    assert answer.to_json() == {
        "feasible": False,
        "nearest": None,
        "violations": {},
        "binding": None,
        "cheapest": None,
        "note": answer.note,
    }


@pytest.mark.parametrize("strategy", ["accuracy", "knee", "lexicographic", "chebyshev"])
def test_every_strategy_keeps_to_the_budget_and_to_the_front(
    sample: Any, three: tuple[Objective, ...], strategy: str
) -> None:
    generator = np.random.default_rng(5)
    table = np.column_stack([generator.random(60), generator.integers(1, 50, (60, 2))])
    every = [sample(i, dict(zip(NAMES, row.tolist(), strict=True))) for i, row in enumerate(table)]
    budget = Budget({"memory": 30})
    answer = select(iter(every), budget, three, strategy=strategy)
    assert answer.strategy == strategy
    assert answer.candidate is not None
    assert budget.holds(answer.candidate.values)
    row = table[answer.candidate.id] * [-1, 1, 1]
    rivals = table[table[:, 1] <= 30] * [-1, 1, 1]
    assert not ((rivals <= row).all(axis=1) & (rivals < row).any(axis=1)).any()
    assert select(every[::-1], budget, three, strategy=strategy).candidate is answer.candidate


@pytest.mark.parametrize(
    ("strategy", "options", "said"),
    [
        ("best", {}, "unknown strategy 'best'; known: accuracy, knee, lexicographic, chebyshev"),
        ("accuracy", {"weights": {}}, "strategy 'accuracy' has no option weights; it takes no options"),
        ("lexicographic", {"weights": {}}, "has no option weights; it takes order and tolerance"),
    ],
)
def test_bad_requests_are_refused_even_with_no_points(
    strategy: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        select([], None, OBJECTIVES, strategy=strategy, **options)


def test_options_that_are_none_count_as_not_given(sample: Any) -> None:
    only = sample(1, dict(zip(NAMES, (0.9, 1.0, 2.0), strict=True)))
    assert select([only], None, OBJECTIVES, weights=None, order=None).candidate is only
