"""Metrics that compare with the dense model, from made-up answers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from leanfront.core.objectives import METRICS, measure, wilson
from leanfront.core.objectives.calibration import expected_calibration_error
from leanfront.core.objectives.classes import worst_class_drop
from leanfront.core.objectives.robust import flip_rate
from leanfront.core.objectives.views import CORRUPTED, NOISY, SEVERITIES, Answers
from leanfront.errors import EvaluationError, UsageError


def answers(*classes: int, of: int = 3) -> Tensor:
    """Logits (n, C) of these first answers."""
    return torch.eye(of)[list(classes)]


def corrupted(errors: dict[str, list[int]], dense: dict[str, list[int]], n: int = 10) -> Answers:
    """A model that errs on so many of n samples of class 0 under each corruption and severity."""

    def logits(counts: dict[str, list[int]]) -> dict[str, Tensor]:
        return {
            f"{name}/{severity}": answers(*([1] * wrong + [0] * (n - wrong)))
            for name, row in counts.items()
            for severity, wrong in zip(SEVERITIES, row, strict=True)
        }

    return Answers(torch.zeros(n, dtype=torch.long), answers(*[0] * n), logits(errors), logits(dense))


def one(
    name: str, logits: Tensor, labels: Tensor, **given: object
) -> tuple[float, float | None, float | None, int | None]:
    (found,) = measure((name,), logits, labels, "validation", given)
    return found.value, found.low, found.high, found.count


def test_what_costs_an_evaluation_is_not_always_measured() -> None:
    assert {name for name, metric in METRICS.items() if not metric.always} == {"mce", "flip_rate"}
    assert {name for name, metric in METRICS.items() if metric.needs} == {
        "worst_class_drop",
        "pie_rate",
        "mce",
        "flip_rate",
    }
    assert not any(
        METRICS[name].maximise for name in ("ece", "worst_class_drop", "pie_rate", "mce", "flip_rate")
    )


def test_mce_by_hand() -> None:
    logits, labels = answers(*[0] * 50), torch.zeros(50, dtype=torch.long)
    given = corrupted(
        {"fog": [1, 2, 6], "elastic_transform": [0, 0, 3], "snow": [4, 4, 4]},
        {"fog": [1, 1, 1], "elastic_transform": [1, 1, 2], "snow": [0, 0, 0]},
    )
    value, low, high, count = one("mce", logits, labels, corrupted=given)
    # 9/3 and 3/4; under snow the dense model makes no error.
    assert value == pytest.approx((3 + 0.75) / 2)
    assert low is not None
    assert high is not None
    assert low <= value <= high
    # The view's samples, not the split's.
    assert count == 10
    same = corrupted({"fog": [1, 2, 3]}, {"fog": [1, 2, 3]})
    assert one("mce", logits, labels, corrupted=same)[0] == 1
    perfect = corrupted({"fog": [1, 2, 3]}, {"fog": [0, 0, 0]})
    assert math.isnan(one("mce", logits, labels, corrupted=perfect)[0])


def test_pie_rate_counts_other_answers_whatever_is_true() -> None:
    dense = answers(0, 1, 2, 2, 0)
    labels = torch.tensor([0, 0, 0, 0, 0])
    assert one("pie_rate", dense, labels, dense=dense) == (0.0, *wilson(0, 5), 5)
    # Third: wrong to right; fourth: wrong to wrong; fifth: right to wrong.
    other = answers(0, 1, 0, 1, 1)
    assert one("pie_rate", other, labels, dense=dense) == (0.6, *wilson(3, 5), 5)
    # Of equal logits the first is the answer, of both.
    level = torch.zeros(5, 3)
    assert one("pie_rate", level, labels, dense=level)[0] == 0
    assert one("pie_rate", answers(0, 0, 0, 0, 1), labels, dense=level)[0] == pytest.approx(0.2)


def test_ece_and_worst_class_drop_are_those_of_the_audit() -> None:
    generator = torch.Generator().manual_seed(2)
    logits, dense = (3 * torch.randn(300, 5, generator=generator) for _ in range(2))
    labels = torch.randint(0, 5, (300,), generator=generator)
    assert one("ece", logits, labels) == (expected_calibration_error(logits, labels), None, None, 300)
    drop = worst_class_drop(logits, labels, dense)
    assert one("worst_class_drop", logits, labels, dense=dense) == (drop.value, drop.low, drop.high, 300)
    right = (logits.argmax(1) == labels, dense.argmax(1) == labels)
    recalls = [[float(r[labels == c].double().mean()) for c in range(5)] for r in right]
    assert drop.value == pytest.approx(max(d - o for o, d in zip(*recalls, strict=True)))
    assert one("worst_class_drop", dense, labels, dense=dense)[0] == 0


def test_flip_rate_is_of_the_view() -> None:
    clean, noisy = answers(0, 1, 2, 0), answers(0, 2, 2, 1)
    given = Answers(torch.tensor([0, 0, 0, 0]), clean, {"gaussian": noisy}, {"gaussian": clean})
    found = one("flip_rate", answers(*[0] * 9), torch.zeros(9, dtype=torch.long), noisy=given)
    assert found == (0.5, *wilson(2, 4), 4)
    assert found[:3] == flip_rate(clean, noisy)


def test_what_is_needed_and_not_given_is_said() -> None:
    logits, labels = answers(0, 1), torch.tensor([0, 1])
    with pytest.raises(UsageError, match="metric 'pie_rate' needs dense, which is not at hand"):
        measure(("accuracy", "pie_rate"), logits, labels, "test")
    with pytest.raises(UsageError, match=f"metric 'mce' needs {CORRUPTED}"):
        measure(("mce",), logits, labels, "test", {"dense": logits, NOISY: None})
    with pytest.raises(EvaluationError):
        measure(("pie_rate",), logits * math.nan, labels, "test", {"dense": logits})


def test_a_guess_is_the_reference() -> None:
    """What makes a search's hypervolume reference: no better than chance by each."""
    for name, expected in (("ece", 1.0), ("worst_class_drop", 1.0), ("pie_rate", 0.75), ("flip_rate", 0.75)):
        assert METRICS[name].chance(4) == expected
    assert METRICS["mce"].chance(4) == 2.0
