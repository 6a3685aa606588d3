"""Corruption tables by hand: mCE, relative mCE, relative change, excess error."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from leanfront.core.audit.corruption_errors import (
    excess_error,
    relative_change,
    relative_corruption_errors,
    robustness,
)
from leanfront.core.objectives.robust import mean_corruption_error
from leanfront.errors import UsageError

NAMES, SEVERITIES = ("fog", "snow", "jpeg"), (1, 5)
ERRORS, DENSE = [[20, 60], [30, 30], [10, 0]], [[10, 30], [15, 25], [0, 0]]
CLEAN, DENSE_CLEAN = 15, 10


def outcomes(errors: list[list[int]], n: int = 100) -> Tensor:
    """bool (k, s, n) with so many errors under each corruption and severity."""
    return torch.stack([torch.stack([torch.arange(n) >= count for count in row]) for row in errors])


def right(errors: int, n: int = 100) -> Tensor:
    return torch.arange(n) >= errors


def test_a_table_by_hand() -> None:
    found = robustness(NAMES, SEVERITIES, outcomes(ERRORS), outcomes(DENSE), right(CLEAN), right(DENSE_CLEAN))
    fog, snow, jpeg = found.corruptions
    assert (fog.name, fog.accuracy, fog.dense_accuracy) == ("fog", (0.8, 0.4), (0.9, 0.7))
    assert (fog.ce, snow.ce) == (2.0, 1.5)
    assert math.isnan(jpeg.ce)
    assert (found.mce, found.undefined) == (1.75, ("jpeg",))
    value, low, high = mean_corruption_error(outcomes(ERRORS), outcomes(DENSE))
    assert (found.mce, found.mce_low, found.mce_high) == (value, low, high)
    # fog: (.05 + .45) / (.00 + .20); snow: (.15 + .15) / (.05 + .15); jpeg lowers the dense model's error.
    assert fog.relative_ce == pytest.approx(2.5)
    assert snow.relative_ce == pytest.approx(1.5)
    assert math.isnan(jpeg.relative_ce)
    assert found.relative_mce == pytest.approx(2.0)
    assert found.relative_undefined == ("jpeg",)
    clean_change = 100 * (0.85 - 0.9) / 0.9
    assert fog.relative_change == pytest.approx(100 * (0.6 - 0.8) / 0.8 - clean_change)
    assert jpeg.relative_change == pytest.approx(100 * (0.95 - 1) / 1 - clean_change)
    assert fog.excess_error == pytest.approx((0.4 - 0.15) - (0.2 - 0.1))
    assert jpeg.excess_error == pytest.approx((0.05 - 0.15) - (0.0 - 0.1))
    assert (found.clean_accuracy, found.dense_clean_accuracy, found.n) == (0.85, 0.9, 100)
    assert (found.reference, found.severities) == ("dense", (1, 5))


def test_the_dense_model_beside_itself() -> None:
    dense, clean = outcomes(DENSE), right(DENSE_CLEAN)
    found = robustness(NAMES, SEVERITIES, dense, dense, clean, clean)
    assert (found.mce, found.mce_low, found.mce_high, found.relative_mce) == (1.0, 1.0, 1.0, 1.0)
    assert {row.relative_change for row in found.corruptions} == {0.0}
    assert {row.excess_error for row in found.corruptions} == {0.0}


def test_nothing_defined_is_null_in_json() -> None:
    none = outcomes([[0], [0]])
    found = robustness(NAMES[:2], (3,), outcomes([[1], [2]]), none, right(CLEAN), right(0)).to_json()
    assert found["mce"] is found["mce_low"] is found["relative_mce"] is None
    assert found["undefined"] == found["relative_undefined"] == ["fog", "snow"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_single_figures() -> None:
    # The paper's form: 10% relative loss on D where clean accuracy lost 2%.
    assert relative_change(0.45, 0.5, 0.784, 0.8) == pytest.approx(-10 + 2)
    assert math.isnan(relative_change(0.1, 0.0, 0.5, 0.6))
    assert math.isnan(relative_change(0.1, 0.2, 0.5, 0.0))
    assert excess_error(0.5, 0.3, 0.2, 0.1) == pytest.approx(0.1)
    # Neither no loss nor a gain by a corruption is something to divide by.
    dense = torch.tensor([[0.1, 0.1], [0.05, 0.1], [0.1, 0.2]])
    found = relative_corruption_errors(dense + 0.1, dense, 0.1, 0.1)
    assert found[:2].isnan().all()
    assert float(found[2]) == pytest.approx(3.0)


def test_what_does_not_fit_is_refused() -> None:
    correct, dense, clean = outcomes(ERRORS), outcomes(DENSE), right(CLEAN)
    with pytest.raises(UsageError, match="do not name"):
        robustness(NAMES[:2], SEVERITIES, correct, dense, clean, clean)
    with pytest.raises(UsageError, match="named twice: fog, fog, jpeg"):
        robustness(("fog", "fog", "jpeg"), SEVERITIES, correct, dense, clean, clean)
    for wrong in (clean.int(), clean[:5], clean[:, None]):
        with pytest.raises(UsageError, match="which clean samples are right"):
            robustness(NAMES, SEVERITIES, correct, dense, clean, wrong)
