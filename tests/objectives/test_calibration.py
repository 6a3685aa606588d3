from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from leanfront.core.objectives.calibration import (
    BINS,
    HIGHEST,
    LOWEST,
    brier,
    calibration,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)
from leanfront.errors import EvaluationError


def drawn(n: int, classes: int, seed: int, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits (n, classes), and labels drawn from softmax(logits / sharpness)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((logits / sharpness).softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


def certain(confidences: list[float], right: list[bool]) -> tuple[Tensor, Tensor]:
    """Two classes, the first always predicted, with these confidences above 1/2."""
    p = torch.tensor(confidences, dtype=torch.float64)
    return torch.stack([p.log(), (1 - p).log()], dim=1), torch.tensor([0 if each else 1 for each in right])


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits (N, C) on a coarse grid, so that ties and borders are common, with labels."""
    n, classes = draw(st.integers(1, 20)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    logits = torch.randint(-3, 4, (n, classes), generator=generator).float()
    return logits, torch.randint(0, classes, (n,), generator=generator)


def by_hand(logits: Tensor, labels: Tensor) -> float:
    """ECE sample by sample."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for row, label in zip(logits.double().softmax(1).tolist(), labels.tolist(), strict=True):
        place = next(k for k in range(BINS) if max(row) <= (k + 1) / BINS or k == BINS - 1)
        # The logits decide ties, lowest class first; softmax keeps their order.
        bins[place].append((max(row), row.index(max(row)) == label))
    total = 0.0
    for each in bins:
        if each:
            confidence = sum(c for c, _ in each) / len(each)
            accuracy = sum(r for _, r in each) / len(each)
            total += len(each) / len(labels) * abs(accuracy - confidence)
    return total


@settings(deadline=None)
@given(batches())
def test_ece_equals_the_definition(batch: tuple[Tensor, Tensor]) -> None:
    assert expected_calibration_error(*batch) == pytest.approx(by_hand(*batch), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_ece_and_the_largest_gap_equal_torchmetrics(seed: int) -> None:
    logits, labels = drawn(600, 5, seed, sharpness=2.0)
    found = reliability(logits, labels)
    for norm, value in (("l1", found.ece), ("max", found.mce_max)):
        other = multiclass_calibration_error(logits.softmax(1), labels, 5, n_bins=BINS, norm=norm)
        assert value == pytest.approx(float(other), abs=1e-6)  # torchmetrics computes in float32


def test_on_a_border_a_confidence_is_in_the_bin_below() -> None:
    # Five equal logits: confidence 1/5 = 3/15; and one just above it.
    logits = torch.zeros(2, 5, dtype=torch.float64)
    logits[1] = torch.tensor([0.19, 0.19, 0.21, 0.205, 0.205], dtype=torch.float64).log()
    found = reliability(logits, torch.tensor([0, 0]))
    assert [(k, each.count) for k, each in enumerate(found.bins) if each.count] == [(2, 1), (3, 1)]
    assert found.ece == pytest.approx(0.5 * 0.8 + 0.5 * 0.21)


def test_torchmetrics_takes_the_bin_above_so_full_confidence_stands_alone_there() -> None:
    logits, labels = certain([1.0, 0.97], [False, True])
    logits = logits.clamp(min=-1e4)  # log 0
    assert expected_calibration_error(logits, labels) == pytest.approx(0.985 - 0.5)
    other = float(multiclass_calibration_error(logits.softmax(1), labels, 2, n_bins=BINS))
    assert other == pytest.approx((1 + 0.03) / 2)


def test_full_confidence_is_in_the_last_bin() -> None:
    logits = torch.tensor([[1e4, 0.0], [1e4, 0.0], [3.0, 0.0]], dtype=torch.float64)
    found = reliability(logits, torch.tensor([0, 1, 0]))
    last = found.bins[-1]
    assert (last.low, last.high, last.count) == (14 / 15, 1.0, 3)
    assert last.accuracy == pytest.approx(2 / 3)
    assert found.mce_max == pytest.approx((2 + 1 / (1 + math.exp(-3))) / 3 - 2 / 3)


@pytest.mark.parametrize("classes", [2, 3, 5, 15])
def test_equal_logits_answer_the_first_class_with_confidence_on_a_border(classes: int) -> None:
    logits, labels = torch.zeros(classes, classes), torch.arange(classes)
    found = reliability(logits, labels)
    (place,) = [k for k, each in enumerate(found.bins) if each.count]
    assert place == math.ceil(BINS / classes) - 1
    assert found.bins[place].accuracy == pytest.approx(1 / classes)
    assert found.ece == pytest.approx(0, abs=1e-15)
    assert brier(logits, labels) == pytest.approx(1 - 1 / classes)
    assert negative_log_likelihood(logits, labels) == pytest.approx(math.log(classes))


def test_a_hand_worked_diagram() -> None:
    logits, labels = certain([0.95, 0.95, 0.95, 0.55], [True, True, False, True])
    found = reliability(logits, labels)
    assert found.count == 4
    filled = {k: each for k, each in enumerate(found.bins) if each.count}
    assert {k: each.count for k, each in filled.items()} == {8: 1, 14: 3}
    assert filled[14].confidence == pytest.approx(0.95)
    assert filled[14].accuracy == pytest.approx(2 / 3)
    assert found.ece == pytest.approx(0.75 * (0.95 - 2 / 3) + 0.25 * 0.45)
    assert found.mce_max == pytest.approx(0.45)
    assert brier(logits, labels) == pytest.approx((2 * 2 * 0.05**2 + 2 * 0.95**2 + 2 * 0.45**2) / 4)


def test_empty_bins_are_skipped_and_shown() -> None:
    found = reliability(*certain([0.9], [True]))
    assert len(found.bins) == BINS
    empty = [each for each in found.bins if not each.count]
    assert len(empty) == BINS - 1
    assert {(each.confidence, each.accuracy, each.gap) for each in empty} == {(None, None, 0.0)}
    assert found.ece == pytest.approx(0.1)


def test_borders_join_without_gaps() -> None:
    bins = reliability(*certain([0.9], [True])).bins
    assert (bins[0].low, bins[-1].high) == (0.0, 1.0)
    assert all(a.high == b.low for a, b in pairwise(bins))


def test_scores_equal_scikit_learn() -> None:
    logits, labels = drawn(300, 6, 3)
    p, truth = logits.softmax(1).numpy(), labels.numpy()
    assert negative_log_likelihood(logits, labels) == pytest.approx(log_loss(truth, p, labels=range(6)))
    parts = [brier_score_loss(truth == k, p[:, k]) for k in range(6)]
    assert brier(logits, labels) == pytest.approx(sum(parts), rel=1e-12)


def test_brier_reaches_its_ends() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4]])
    assert brier(logits, torch.tensor([0])) == 0.0
    assert brier(logits, torch.tensor([1])) == 2.0


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0]], dtype=torch.float32)
    labels = torch.tensor([1, 1])
    assert negative_log_likelihood(logits, labels) == 1e4
    assert expected_calibration_error(logits, labels) == 0.5
    found = calibration(logits, labels, fit=(logits, labels))
    assert found.nll_after is not None
    assert math.isfinite(found.nll_after)


def test_all_right_and_all_certain_has_no_error() -> None:
    logits = torch.eye(4, dtype=torch.float64) * 1e4
    found = calibration(logits, torch.arange(4), fit=(logits, torch.arange(4)))
    assert (found.ece, found.nll, found.brier) == (0.0, 0.0, 0.0)


@settings(deadline=None)
@given(batches(), st.integers(0, 1000))
def test_order_and_names_of_classes_do_not_matter(batch: tuple[Tensor, Tensor], seed: int) -> None:
    logits, labels = batch
    generator = torch.Generator().manual_seed(seed)
    # Ties go to the first class, which renaming changes: break them.
    logits = logits + torch.linspace(0, 0.1, logits.numel()).reshape(logits.shape)
    order, names = (torch.randperm(size, generator=generator) for size in logits.shape)
    renamed = torch.empty_like(logits)
    renamed[:, names] = logits
    for measure in (expected_calibration_error, brier, negative_log_likelihood):
        assert measure(renamed[order], names[labels][order]) == pytest.approx(
            measure(logits, labels), abs=1e-9
        )


@settings(deadline=None)
@given(st.floats(0.05, 50), st.integers(51, 99))
def test_temperature_of_one_logit_is_a_closed_form(scale: float, right: int) -> None:
    # sigmoid(scale / T) = share of right answers.
    logits = torch.tensor([[scale, 0.0]], dtype=torch.float64).repeat(100, 1)
    labels = (torch.arange(100) >= right).long()
    found = fit_temperature(logits, labels)
    expected = scale / math.log(right / (100 - right))
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert (found.bounded, found.reason, found.count) == (False, None, 100)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(sharpness: float) -> None:
    logits, labels = drawn(20_000, 4, 1, sharpness)
    found = fit_temperature(logits, labels)
    assert found.value == pytest.approx(sharpness, rel=0.05)
    assert expected_calibration_error(logits / found.value, labels) < 0.01


@settings(deadline=None)
@given(batches())
def test_no_temperature_of_a_grid_is_better(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    found = fit_temperature(logits, labels)
    assert LOWEST <= found.value <= HIGHEST
    least = negative_log_likelihood(logits.double() / found.value, labels)
    for other in np.geomspace(LOWEST, HIGHEST, 41):
        assert least <= negative_log_likelihood(logits.double() / other, labels) + 1e-9


def test_the_temperature_follows_the_scale_of_the_logits() -> None:
    logits, labels = drawn(500, 4, 7, 1.7)
    once, often = fit_temperature(logits, labels), fit_temperature(logits * 100, labels)
    assert often.value == pytest.approx(100 * once.value, rel=1e-5)


def test_separable_data_end_at_the_lower_bound_and_say_so() -> None:
    logits, labels = torch.eye(3, dtype=torch.float64) * 5, torch.arange(3)
    found = fit_temperature(logits, labels)
    assert (found.value, found.bounded) == (LOWEST, True)
    assert "still falls at 0.01" in str(found.reason)


def test_answers_that_are_always_wrong_end_at_the_upper_bound() -> None:
    logits = torch.eye(3, dtype=torch.float64) * 5
    found = fit_temperature(logits, torch.tensor([1, 2, 0]))
    assert (found.value, found.bounded) == (HIGHEST, True)
    assert "than chance" in str(found.reason)


def test_equal_logits_have_no_temperature() -> None:
    found = fit_temperature(torch.full((5, 3), 7.0), torch.tensor([0, 1, 2, 0, 0]))
    assert (found.value, found.bounded) == (1.0, True)
    assert "equal" in str(found.reason)


def test_the_temperature_is_judged_on_other_samples() -> None:
    (logits, labels), other = drawn(2000, 5, 4, 3.0), drawn(2000, 5, 5, 3.0)
    found = calibration(logits, labels, fit=other)
    fitted = fit_temperature(*other)
    assert found.temperature == fitted
    assert (found.count, found.judged) == (2000, 2000)
    assert found.note == "temperature fitted on 2000 other samples"
    assert (found.ece_before, found.nll_before) == (found.ece, found.nll)
    assert found.ece_after == expected_calibration_error(logits / fitted.value, labels)
    assert found.nll_after == negative_log_likelihood(logits / fitted.value, labels)
    assert found.ece_after is not None
    assert found.nll_after is not None
    assert found.ece_after < found.ece / 3
    assert found.nll_after < found.nll


def test_without_other_samples_one_half_is_fitted_and_the_other_judged() -> None:
    logits, labels = drawn(401, 5, 4, 3.0)
    found = calibration(logits, labels, seed=1)
    assert found.temperature is not None
    assert (found.temperature.count, found.judged) == (200, 201)
    assert found == calibration(logits, labels, seed=1)
    assert found.temperature != calibration(logits, labels, seed=2).temperature
    # Labels of the judged half alone decide what is said after; those of the fitted one alone decide T.
    assert found.nll_after is not None
    assert found.nll_before is not None
    assert found.nll_after < found.nll_before
    assert found.reliability_after is not None
    assert found.reliability_after.count == 201


def test_one_sample_has_no_temperature_but_everything_else() -> None:
    found = calibration(*certain([0.8], [True]))
    assert found.ece == pytest.approx(0.2)
    assert found.nll == pytest.approx(-math.log(0.8))
    assert found.brier == pytest.approx(2 * 0.04)
    assert (found.temperature, found.ece_after, found.nll_after, found.judged) == (None, None, None, 0)
    assert found.note.startswith("no temperature: one sample")


def test_the_document_is_json() -> None:
    found = calibration(*drawn(50, 3, 0)).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["reliability"]["ece"] == found["ece"]
    assert found["reliability"]["bins"][0]["accuracy"] is None
    assert set(found["temperature"]) == {"value", "bounded", "reason", "count"}
    alone = calibration(*certain([0.8], [True])).to_json()
    assert alone["temperature"] is None
    assert alone["reliability_after"] is None


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (torch.zeros(3), torch.zeros(3).long(), "must be floats of shape"),
        (torch.zeros(3, 2), torch.zeros(2).long(), "must be integers of shape"),
        (torch.zeros(0, 2), torch.zeros(0).long(), "nothing to measure"),
        (torch.tensor([[0.0, math.nan]]), torch.zeros(1).long(), "NaN or infinite for 1 of 1"),
        (torch.zeros(1, 2), torch.tensor([2]), "labels span 2..2"),
    ],
)
def test_what_cannot_be_measured_is_refused(logits: Tensor, labels: Tensor, said: str) -> None:
    for measure in (reliability, brier, negative_log_likelihood, fit_temperature, calibration):
        with pytest.raises(EvaluationError, match=said):
            measure(logits, labels)
