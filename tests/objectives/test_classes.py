from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import confusion_matrix, recall_score
from torch import Tensor

from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.classes import class_support, group_recall, worst_class_drop
from leanfront.errors import EvaluationError, UsageError


def answers(predictions: list[int], classes: int = 2) -> Tensor:
    """Logits whose largest is the prediction."""
    return torch.nn.functional.one_hot(torch.tensor(predictions), classes).float()


def batch(n: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Candidate's and dense logits, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    clean = 2 * torch.nn.functional.one_hot(labels, classes)
    one, two = torch.randn(2, n, classes, generator=generator)
    return clean + 1.5 * one, clean + two, labels


def test_recall_equals_scikit_learn() -> None:
    logits, _, labels = batch(500, 6, 0)
    found = group_recall(correct(logits, labels), labels, 6)
    assert found.dtype == torch.float64
    predicted = logits.argmax(1).numpy()
    assert found.numpy() == pytest.approx(recall_score(labels, predicted, average=None))
    table = confusion_matrix(labels, predicted)
    assert found.numpy() == pytest.approx(table.diagonal() / table.sum(axis=1))
    assert class_support(labels, 6).tolist() == table.sum(axis=1).tolist()


def test_a_class_without_samples_has_no_recall() -> None:
    labels = torch.tensor([0, 2, 2])
    found = group_recall(correct(answers([0, 2, 1], 4), labels), labels, 4)
    assert found[[0, 2]].tolist() == [1.0, 0.5]
    assert found[[1, 3]].isnan().all()
    assert class_support(labels, 4).tolist() == [1, 0, 2, 0]


def test_groups_may_be_anything_and_leave_samples_out() -> None:
    labels, groups = torch.tensor([0, 1, 0, 1, 1]), torch.tensor([2, 2, 0, -1, 0])
    hits = correct(answers([0, 0, 0, 1, 1]), labels)
    found = group_recall(hits, groups, 3)
    assert found[[0, 2]].tolist() == [1.0, 0.5]
    assert found[1].isnan()
    assert len(group_recall(hits, groups, 5)) == 5
    assert class_support(groups, 3).tolist() == [2, 0, 2]


def test_many_models_at_once_equal_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    hits = torch.rand(3, 4, 50, generator=generator) < 0.7
    groups = torch.randint(-1, 5, (50,), generator=generator)
    found = group_recall(hits, groups, 5)
    assert found.shape == (3, 4, 5)
    for k in range(3):
        for m in range(4):
            expected = [hits[k, m][groups == g].double().mean() for g in range(5)]
            assert found[k, m].tolist() == pytest.approx([float(each) for each in expected])


def test_a_hand_worked_drop() -> None:
    labels = torch.tensor([0] * 4 + [1] * 2)
    dense = answers([0, 0, 0, 1, 1, 1])  # recalls 3/4 and 1
    logits = answers([0, 0, 1, 1, 1, 0])  # recalls 1/2 and 1/2
    found = worst_class_drop(logits, labels, dense)
    assert (found.value, found.group, found.support, found.groups) == (0.5, 1, 2, 2)
    assert (found.dense_recall, found.recall) == (1.0, 0.5)
    # Class 0 lost one of 4 and won none, class 1 one of 2; half a sample is added to each cell, two tests.
    z = norm.ppf(1 - 0.05 / 4)
    ends = []
    for lost, won, n in ((1.5, 0.5, 6), (1.5, 0.5, 4)):
        half = z * math.sqrt(lost + won - (lost - won) ** 2 / n) / n
        ends.append(((lost - won) / n - half, (lost - won) / n + half))
    assert found.low == pytest.approx(max(low for low, _ in ends))
    assert found.high == pytest.approx(min(1, max(high for _, high in ends)))


def test_where_every_class_gained_the_drop_is_negative() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    found = worst_class_drop(answers([0, 0, 1, 1]), labels, answers([1, 1, 1, 0]))
    assert (found.value, found.group) == (-0.5, 1)


def test_the_same_model_drops_nothing_yet_is_not_sure_of_it() -> None:
    logits, _, labels = batch(60, 3, 1)
    found = worst_class_drop(logits, labels, logits)
    assert (found.value, found.group) == (0.0, 0)
    assert found.low < 0 < found.high


def test_a_class_without_samples_is_not_the_worst() -> None:
    labels = torch.tensor([1, 1, 3])
    found = worst_class_drop(answers([1, 1, 3], 4), labels, answers([0, 0, 3], 4))
    assert (found.value, found.group, found.groups) == (0.0, 3, 2)


def test_the_first_of_equal_drops_is_named() -> None:
    labels = torch.tensor([2, 2, 1, 1, 0])
    assert worst_class_drop(answers([2, 0, 1, 0, 0], 3), labels, answers([2, 2, 1, 1, 0], 3)).group == 1


def test_drops_of_attributes_use_the_same_function() -> None:
    logits, dense, labels = batch(200, 4, 2)
    groups = torch.arange(200) % 3 - 1
    found = worst_class_drop(logits, labels, dense, groups)
    before, after = (group_recall(correct(each, labels), groups, 2) for each in (dense, logits))
    drops = before - after
    assert found.value == pytest.approx(float(drops.max()))
    assert found.group == int(drops.argmax())
    assert (found.groups, found.support) == (2, int((groups == found.group).sum()))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 6))
def test_order_and_names_do_not_matter(seed: int, n: int, classes: int) -> None:
    logits, dense, labels = batch(n, classes, seed)
    found = worst_class_drop(logits, labels, dense)
    assert found.low <= found.value <= found.high
    before, after = (group_recall(correct(each, labels), labels, classes) for each in (dense, logits))
    drops = before - after
    assert found.value == pytest.approx(np.nanmax(drops.numpy()))
    order, names = (
        torch.randperm(size, generator=torch.Generator().manual_seed(seed)) for size in (n, classes)
    )
    renamed = [torch.empty_like(each) for each in (logits, dense)]
    for new, old in zip(renamed, (logits, dense), strict=True):
        new[:, names] = old
    other = worst_class_drop(renamed[0][order], names[labels][order], renamed[1][order])
    assert (other.value, other.low, other.high) == pytest.approx((found.value, found.low, found.high))
    assert float(drops[names.tolist().index(other.group)]) == pytest.approx(found.value)


@pytest.mark.parametrize("drops", [(0.0,) * 5, (0.1, 0.0, 0.0, 0.0, 0.0), (0.15, 0.1, 0.1, 0.05, -0.05)])
def test_the_interval_covers_the_true_largest_drop(drops: tuple[float, ...]) -> None:
    # Dense models are right with .9; the others with .9 - drop, drawn apart: the widest case.
    random, each, rounds = np.random.default_rng(0), 60, 300
    labels = torch.arange(5).repeat_interleave(each)
    after = np.repeat(0.9 - np.array(drops), each)
    covered, above = 0, 0
    for _ in range(rounds):
        hits = [torch.from_numpy(random.random(5 * each) < p) for p in (0.9, after)]
        dense, logits = (
            torch.nn.functional.one_hot(torch.where(hit, labels, (labels + 1) % 5), 5).float() for hit in hits
        )
        found = worst_class_drop(logits, labels, dense)
        covered += found.low <= max(drops) <= found.high
        above += found.value > max(drops)
    assert covered / rounds >= 0.95
    assert above / rounds > 0.5  # the observed maximum is biased upwards: why the interval is of the maximum


def test_more_confidence_is_wider() -> None:
    logits, dense, labels = batch(200, 4, 2)
    wide, narrow = (worst_class_drop(logits, labels, dense, confidence=c) for c in (0.99, 0.8))
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(UsageError, match="confidence must lie in"):
        worst_class_drop(logits, labels, dense, confidence=1.0)


def test_the_document_is_json() -> None:
    logits, dense, labels = batch(20, 3, 0)
    found = worst_class_drop(logits, labels, dense).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_inputs_that_do_not_fit_are_refused() -> None:
    logits, dense, labels = batch(10, 3, 0)
    with pytest.raises(EvaluationError, match=r"dense model's outputs have shape \(9, 3\)"):
        worst_class_drop(logits, labels, dense[:9])
    with pytest.raises(EvaluationError, match="no sample belongs to a group"):
        worst_class_drop(logits, labels, dense, torch.full((10,), -1), count=2)
    with pytest.raises(EvaluationError, match="NaN or infinite"):
        worst_class_drop(logits, labels, dense * math.nan)
    with pytest.raises(UsageError, match="do not fit 10 samples"):
        worst_class_drop(logits, labels, dense, torch.zeros(9).long())
    with pytest.raises(UsageError, match="do not fit 7 samples"):
        group_recall(torch.zeros(7, dtype=torch.bool), labels, 3)
    with pytest.raises(UsageError, match=r"groups span 0\.\.2: they must lie in -1\.\.1"):
        class_support(torch.tensor([0, 2]), 2)
    with pytest.raises(UsageError, match="groups must be integers"):
        class_support(torch.tensor([0.0, 1.0]), 2)
