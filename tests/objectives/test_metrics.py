from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives import METRICS, Metric, measure, wilson
from leanfront.core.objectives.metrics import register
from leanfront.errors import EvaluationError, UsageError

NAMES = ("accuracy", "top5_accuracy", "cross_entropy")


@st.composite
def batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, C) on a coarse grid, so that ties are common, with labels."""
    n, classes = draw(st.integers(1, 12)), draw(st.integers(2, 8))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-2, 3, (n, classes), generator=generator).float()
    return logits, torch.randint(0, classes, (n,), generator=generator)


@given(st.integers(1, 5000), st.data(), st.floats(0.5, 0.999))
def test_wilson_equals_scipy(n: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n, confidence)
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert low == pytest.approx(expected.low, abs=1e-9)
    assert high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= low <= successes / n <= high <= 1


def test_wilson_reaches_the_ends_exactly() -> None:
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 5), (6, 5), (1, 2, 0.0), (1, 2, 1.0), (1, 2, math.nan)])
def test_wilson_refuses_what_is_no_proportion(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"must lie in|need 0 <="):
        wilson(*arguments)


@given(batches(), st.integers(1, 9))
def test_correct_equals_a_stable_sort(batch: tuple[torch.Tensor, torch.Tensor], k: int) -> None:
    logits, labels = batch
    ranked = np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :k]
    expected = [label in row for label, row in zip(labels.tolist(), ranked.tolist(), strict=True)]
    assert correct(logits, labels, k).tolist() == expected


def test_constant_outputs_score_what_the_first_classes_hold() -> None:
    labels = torch.arange(10)
    accuracy, top5 = measure(("accuracy", "top5_accuracy"), torch.zeros(10, 10), labels, "test")
    assert accuracy.value == METRICS["accuracy"].chance(10) == 0.1
    assert top5.value == METRICS["top5_accuracy"].chance(10) == 0.5


def test_values_equal_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(400, 7, generator=generator)
    labels = torch.randint(0, 7, (400,), generator=generator)
    accuracy, top5, loss = measure(NAMES, logits, labels, "validation")
    scores = torch.softmax(logits.double(), dim=1).numpy()
    assert accuracy.value == accuracy_score(labels, scores.argmax(axis=1))
    assert top5.value == top_k_accuracy_score(labels, scores, k=5)
    assert loss.value == pytest.approx(log_loss(labels, scores), rel=1e-12)
    losses = -np.log(scores[np.arange(400), labels.numpy()])
    low, high = norm.interval(0.95, losses.mean(), losses.std(ddof=1) / math.sqrt(400))
    assert loss.low == pytest.approx(low, rel=1e-9)
    assert loss.high == pytest.approx(high, rel=1e-9)
    assert (accuracy.low, accuracy.high) == wilson(round(accuracy.value * 400), 400)
    assert [each.unit for each in (accuracy, top5, loss)] == ["1", "1", "nat"]
    assert {(each.split, each.count) for each in (accuracy, top5, loss)} == {("validation", 400)}


@given(batches())
def test_top5_is_no_less_than_accuracy(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    accuracy, top5 = measure(("accuracy", "top5_accuracy"), *batch, "test")
    assert accuracy.value <= top5.value
    assert batch[0].shape[1] > 5 or top5.value == 1.0


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_chance_is_the_value_of_uniform_outputs(classes: int) -> None:
    labels = torch.arange(classes)
    for made in measure(NAMES, torch.zeros(classes, classes), labels, "test"):
        assert made.value == pytest.approx(METRICS[made.name].chance(classes), rel=1e-12)


def test_cross_entropy_keeps_digits_that_float32_loses() -> None:
    logits = torch.tensor([[20.0, 0.0], [20.0, 0.0]])
    (loss,) = measure(("cross_entropy",), logits, torch.tensor([0, 0]), "test")
    assert loss.value == pytest.approx(math.log1p(math.exp(-20)), rel=1e-6)


def test_one_sample_has_no_interval_of_its_mean() -> None:
    (loss,) = measure(("cross_entropy",), torch.zeros(1, 2), torch.tensor([1]), "test")
    assert loss.value == pytest.approx(math.log(2))
    assert (loss.low, loss.high) == (None, None)


def test_half_precision_and_small_integers_are_read() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float16, requires_grad=True)
    labels = torch.tensor([0, 0], dtype=torch.uint8)
    assert measure(("accuracy",), logits, labels, "test")[0].value == 0.5


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (torch.zeros(3), torch.zeros(3).long(), "shape (samples, classes), not torch.float32 of shape (3,)"),
        (torch.zeros(3, 2).long(), torch.zeros(3).long(), "must be floats"),
        (torch.zeros(3, 2), torch.zeros(2).long(), "shape (3,), not torch.int64 of shape (2,)"),
        (torch.zeros(3, 2), torch.zeros(3), "must be integers"),
        (torch.zeros(0, 2), torch.zeros(0).long(), "is the split empty?"),
        (torch.tensor([[0.0, math.nan], [0.0, 1.0]]), torch.zeros(2).long(), "infinite for 1 of 2 samples"),
        (torch.tensor([[0.0, math.inf]]), torch.zeros(1).long(), "infinite for 1 of 1 samples"),
        (torch.zeros(2, 2), torch.tensor([0, 2]), "labels span 0..2 but the model has 2 outputs"),
        (torch.zeros(2, 2), torch.tensor([-1, 1]), "labels span -1..1"),
    ],
)
def test_outputs_that_cannot_be_measured(logits: torch.Tensor, labels: torch.Tensor, said: str) -> None:
    with pytest.raises(EvaluationError, match=re.escape(said)):
        measure(("accuracy",), logits, labels, "validation")


def test_unknown_metric_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown metric: f1; known: accuracy, top5_accuracy, cross_entropy"):
        measure(("accuracy", "f1"), torch.zeros(1, 2), torch.zeros(1).long(), "test")


def test_a_metric_needs_a_split() -> None:
    with pytest.raises(UsageError, match="measured on a split"):
        measure(("accuracy",), torch.zeros(1, 2), torch.zeros(1).long(), "")


def test_a_name_is_registered_once() -> None:
    taken = METRICS["accuracy"]
    with pytest.raises(ValueError, match="registered already"):
        register(Metric("accuracy", "1", True, taken.compute, taken.chance, "again"))
    assert METRICS["accuracy"] is taken


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_says_what_it_is(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    assert metric.unit
    assert metric.source
    assert metric.maximise is (name != "cross_entropy")
