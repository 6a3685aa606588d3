from __future__ import annotations

import contextlib
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.objectives import Budget, parse_count, parse_size
from leanfront.errors import UsageError

names = st.sampled_from(["memory_bytes", "macs", "accuracy", "cross_entropy", "latency_p95"])
limits = st.floats(-1e6, 1e6)
values = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KB", 64_000),
        ("64kb", 64_000),
        (" 64 KB ", 64_000),
        ("64KiB", 65_536),
        ("64kib", 65_536),
        ("1.5MB", 1_500_000),
        ("1.5 MiB", 1_572_864),
        (".5GB", 500_000_000),
        ("2GiB", 2_147_483_648),
        ("1.001KB", 1001),
        ("0.0015KB", 1),
        ("512", 512),
        ("512B", 512),
        ("512 b", 512),
        ("1e3", 1000),
        ("1e3KB", 1_000_000),
        ("0", 0),
        (4096, 4096),
        (4096.9, 4096),
        (np.int64(7), 7),
        (np.float32(7.5), 7),
        (2**53 + 1, 2**53 + 1),
    ],
)
def test_sizes(text: str | float, size: int) -> None:
    assert parse_size(text) == size
    assert type(parse_size(text)) is int


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("20M", 2e7),
        ("20m", 2e7),
        ("1.5G", 1.5e9),
        ("500K", 5e5),
        ("2T", 2e12),
        ("7", 7.0),
        (3e6, 3e6),
        (0, 0.0),
    ],
)
def test_counts(text: str | float, count: float) -> None:
    assert parse_count(text) == count
    assert type(parse_count(text)) is float


@pytest.mark.parametrize(
    "text",
    ["", " ", "KB", "-1", "-64KB", "64 K B", "64K", "64XB", "1,5KB", "1_000", "nan", "inf", "NaNKB", "0x10",
     "1e", "1e400", "1e999999999999999999999", "٤KB", -1, -0.5, math.nan, math.inf, 10**400, True, None,
     [1], b"64KB"],
)  # fmt: skip
def test_what_is_no_size_is_refused_with_the_forms(text: object) -> None:
    with pytest.raises(UsageError, match=re.escape(f"size {text!r} cannot be read") + ".*64KB.*64KiB.*bytes"):
        parse_size(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["20MB", "-20M", "20 million", "nan", math.inf, False])
def test_what_is_no_count_is_refused_with_the_forms(text: object) -> None:
    with pytest.raises(UsageError, match=re.escape(f"count {text!r} cannot be read") + ".*20M"):
        parse_count(text)  # type: ignore[arg-type]


def test_numbers_too_small_for_a_float_are_zero() -> None:
    assert parse_size("1e-999999999999999999999GB") == 0


@given(
    st.integers(0, 10**12), st.sampled_from([("", 1), ("B", 1), ("kb", 10**3), ("MB", 10**6), ("KiB", 2**10)])
)
def test_whole_sizes_are_exact(number: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]


@given(st.integers(0, 10**9))
def test_thousandths_are_exact(thousandths: int) -> None:
    assert parse_size(f"{thousandths // 1000}.{thousandths % 1000:03d}KB") == thousandths


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_size(text) >= 0


@given(
    st.dictionaries(names, st.tuples(limits, limits)),
    st.dictionaries(names, values),
    st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_budget_equals_the_limits_one_by_one(
    pairs: dict[str, tuple[float, float]], found: dict[str, float | None], kept: list[bool]
) -> None:
    maximum = {name: max(pair) for name, pair in pairs.items() if kept[len(name) % 10]}
    minimum = {name: min(pair) for name, pair in pairs.items() if kept[len(name) % 7]}
    budget = Budget(maximum, minimum)

    def within(name: str) -> bool:
        value = found.get(name)
        if value is None or math.isnan(value):
            return False
        return value <= maximum.get(name, math.inf) and value >= minimum.get(name, -math.inf)

    limited = maximum.keys() | minimum.keys()
    broken = {name for name in limited if not within(name)}
    assert budget.holds(found) is (not broken)
    assert budget.names == tuple(sorted(limited))
    violations = budget.violations(found)
    assert set(violations) == broken
    assert all(excess > 0 for excess in violations.values())
    assert (budget.normalised_violation(found) > 0) is bool(broken)


def test_violations_are_in_the_measurements_unit() -> None:
    budget = Budget({"memory": 64_000, "macs": 2e7}, {"accuracy": 0.9})
    found = {"memory_bytes": 80_000.0, "macs": 1e7, "accuracy": 0.81}
    assert budget.violations(found) == {"memory_bytes": 16_000.0, "accuracy": pytest.approx(0.09)}
    assert budget.normalised_violations(found) == {"memory_bytes": 0.25, "accuracy": pytest.approx(0.1)}
    assert budget.normalised_violation(found) == pytest.approx(0.35)


def test_limits_are_inclusive() -> None:
    assert Budget({"macs": 5}, {"macs": 5}).holds({"macs": 5.0})


@pytest.mark.parametrize("found", [{}, {"macs": None}, {"macs": math.nan}])
def test_what_is_not_measured_does_not_hold(found: dict[str, float | None]) -> None:
    for budget in (Budget({"macs": 1e9}), Budget(minimum={"macs": 0.0})):
        assert not budget.holds(found)
        assert budget.violations(found) == {"macs": math.inf}
        assert budget.normalised_violation(found) == math.inf


def test_a_limit_of_zero_has_a_finite_violation() -> None:
    assert Budget({"cross_entropy": 0}).normalised_violation({"cross_entropy": 1.0}) == pytest.approx(1e12)


def test_an_empty_budget_holds_for_everything() -> None:
    assert Budget().holds({})
    assert Budget().normalised_violation({}) == 0
    assert str(Budget()) == "no limits"


def test_aliases_are_names() -> None:
    budget = Budget({"memory": 1, "activation_memory": 2})
    assert budget == Budget({"activation_memory_bytes": 2.0, "memory_bytes": 1.0})
    assert hash(budget) == hash(Budget({"activation_memory_bytes": 2.0, "memory_bytes": 1.0}))
    assert budget.to_json() == {
        "maximum": {"activation_memory_bytes": 2.0, "memory_bytes": 1.0},
        "minimum": {},
    }
    assert str(Budget({"memory": 64000}, {"accuracy": 0.9})) == "memory_bytes <= 64000 and accuracy >= 0.9"


def test_a_budget_is_a_copy() -> None:
    given_limits = {"macs": 1.0}
    budget = Budget(given_limits)
    given_limits["macs"] = 2.0
    assert budget.maximum == {"macs": 1.0}


@pytest.mark.parametrize(
    ("maximum", "minimum", "said"),
    [
        ({"memory": 1, "memory_bytes": 2}, {}, "maximum of memory_bytes is given twice"),
        ({"macs": math.nan}, {}, "maximum of macs must be a finite number, not nan"),
        ({"macs": math.inf}, {}, "not inf"),
        ({"macs": 10**400}, {}, "must be a finite number"),
        ({"macs": "20M"}, {}, "not '20M'"),
        ({"macs": True}, {}, "not True"),
        ({"macs": None}, {}, "not None"),
        ({"macs": 1}, {"macs": 2}, "macs cannot be at least 2 and at most 1"),
    ],
)
def test_limits_that_are_none(maximum: dict[str, float], minimum: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Budget(maximum, minimum)


def test_of_reads_what_a_user_types() -> None:
    budget = Budget.of(
        max_memory="64KB",
        max_macs="20M",
        min_accuracy="0.9",
        maximum={"file_size": "1MiB", "bops": "2G", "cross_entropy": "0.5"},
        minimum={"memory": 100},
    )
    assert budget == Budget(
        {"memory_bytes": 64e3, "macs": 2e7, "file_bytes": 2**20, "bops": 2e9, "cross_entropy": 0.5},
        {"accuracy": 0.9, "memory_bytes": 100},
    )
    assert Budget.of() == Budget()
    assert Budget.of(max_memory=64_000, min_accuracy=1) == Budget({"memory_bytes": 64_000}, {"accuracy": 1})


def test_of_does_not_round_a_lower_limit_down() -> None:
    assert not Budget.of(minimum={"memory": "0.0105KB"}).holds({"memory_bytes": 10.0})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_memory": "64K"}, "the limit of memory_bytes '64K' cannot be read; write it like 64KB"),
        ({"max_macs": "-1"}, "the limit of macs '-1' cannot be read; write it like 20M"),
        ({"min_accuracy": "high"}, "the limit of accuracy 'high' cannot be read; write it like 0.9"),
        ({"min_accuracy": 90}, r"90 is not in \[0, 1\]; write 90% as 0.9"),
        ({"min_accuracy": True}, "True cannot be read"),
        ({"maximum": {"latencyy": 1}}, "cannot limit 'latencyy': nothing measures it; known: accuracy, "),
        ({"maximum": {"memory": "1KB"}, "max_memory": "1KB"}, "maximum of memory_bytes is given twice"),
        ({"maximum": {"macs": 1}, "minimum": {"macs": 2}}, "at least 2 and at most 1"),
    ],
)
def test_of_refuses(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Budget.of(**arguments)  # type: ignore[arg-type]


def test_of_takes_measurements_that_no_registry_knows() -> None:
    budget = Budget.of(maximum={"calibration_error": "0.05"}, measured=["calibration_error"])
    assert budget == Budget({"calibration_error": 0.05})
    with pytest.raises(UsageError, match=r"known: .*calibration_error"):
        Budget.of(maximum={"other": 1}, measured=["calibration_error"])
