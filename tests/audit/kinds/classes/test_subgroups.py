from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from leanfront.core.audit.kinds.classes.class_impact import Impact, class_impact
from leanfront.core.audit.kinds.classes.subgroups import Groups, crossed, group_by, long_tail, subgroups
from leanfront.errors import UsageError

Integers = NDArray[np.int64]


def drawn(k: int, seed: int, rates: list[float], n: int = 600) -> tuple[Integers, Integers]:
    """Predictions (K, N) that err by class, and the truth."""
    random, classes = np.random.default_rng(seed), len(rates)
    truth = np.arange(n) % classes
    wrong = random.random((k, n)) < np.array(rates)[truth]
    return np.where(wrong, (truth + 1) % classes, truth), truth


def impact(rates: list[float], classes: int | None = None) -> Impact:
    dense, truth = drawn(4, 0, [0.1] * len(rates))
    return class_impact(dense, drawn(4, 1, rates)[0], truth, classes or len(rates))


def training(counts: list[int]) -> Integers:
    return np.repeat(np.arange(len(counts)), counts)


def test_values_are_numbered_in_their_order() -> None:
    found = group_by(["young", "old", "young", "middle"])
    assert found.names == ("middle", "old", "young")
    assert found.ids.tolist() == [2, 1, 2, 0]
    assert group_by([10, 9, 10]).names == ("9", "10")


def test_none_and_nan_are_no_value() -> None:
    found = group_by([1.5, None, math.nan, float("nan"), 0.5])
    assert found.ids.tolist() == [1, -1, -1, -1, 0]
    assert group_by([None, None]).names == ()


def test_values_of_several_types_and_arrays_are_read() -> None:
    found = group_by(["b", 2, ("a", 1), "a"])
    assert found.names == ("2", "a", "b", "('a', 1)")
    assert found.ids.tolist() == [2, 0, 3, 1]
    assert group_by(torch.tensor([True, False])).names == ("False", "True")
    assert group_by(np.array(["x", "y"])).ids.tolist() == [0, 1]
    with pytest.raises(UsageError, match="hashable"):
        group_by([[1], [2]])  # type: ignore[list-item]


def test_an_attribute_that_is_the_class_gives_class_impact() -> None:
    (dense, truth), (harmed, _) = drawn(3, 0, [0.1, 0.2, 0.3]), drawn(5, 1, [0.1, 0.2, 0.8])
    found = subgroups(dense == truth, harmed == truth, {"copy": truth.tolist()})
    assert found == {"copy": class_impact(dense, harmed, truth, 3)}


def test_the_harmed_value_is_found() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 900)
    dark = random.random(900) < 0.3
    dense = random.random((6, 900)) < 0.9
    harmed = random.random((6, 900)) < np.where(dark, 0.5, 0.88)
    values = ["dark" if each else "light" for each in dark]
    found = subgroups(
        dense, harmed, {"light": values, "all": ["one"] * 900}, labels=truth, classes=list("abc")
    )
    assert list(found) == ["light", "light x class", "all", "all x class"]
    by_value = {each.name: each for each in found["light"].groups}
    assert by_value["dark"].direction == "down"
    assert by_value["light"].direction == "up"
    assert by_value["dark"].status == "significant"
    assert by_value["dark"].support == dark.sum()
    pairs = {each.name: each for each in found["light x class"].groups}
    assert list(pairs) == [f"{value} / {label}" for value in ("dark", "light") for label in "abc"]
    assert pairs["dark / b"].support == (dark & (truth == 1)).sum()
    assert pairs["dark / b"].dense_recall == pytest.approx(dense[:, dark & (truth == 1)].mean())
    # A group of everything can change no more and no less than the whole.
    (whole,) = found["all"].groups
    assert (whole.normalised_points, whole.direction) == (0.0, "none")


def test_a_sample_without_a_value_is_in_no_pair() -> None:
    found = crossed(Groups(np.array([-1, 0, 1]), ("x", "y")), [0, 1, 0], ["a", "b"])
    assert found.ids.tolist() == [-1, 1, 2]
    assert found.names == ("x / a", "x / b", "y / a", "y / b")


def test_attributes_that_do_not_fit_are_refused() -> None:
    hits = np.ones((2, 3), dtype=bool)
    with pytest.raises(UsageError, match="attribute 'age' has 2 values for 3 samples"):
        subgroups(hits, hits, {"age": [1, 2]})
    with pytest.raises(UsageError, match="both labels and the names"):
        subgroups(hits, hits, {"age": [1, 2, 3]}, labels=[0, 0, 0])
    with pytest.raises(UsageError, match="but there are 1 classes"):
        subgroups(hits, hits, {"age": [1, 2, 3]}, labels=[0, 1, 0], classes=["a"])
    with pytest.raises(UsageError, match="labels must be integers of shape"):
        crossed(group_by([1, 2, 3]), [0.5, 1.0, 2.0], ["a"])


def test_rare_classes_that_lose_more_have_a_positive_correlation() -> None:
    rates = [0.1, 0.15, 0.3, 0.4, 0.6, 0.8]
    counts = [1000, 500, 100, 50, 10, 2]
    found = long_tail(impact(rates), training(counts))
    assert found.classes == 6
    assert found.reason is None
    changes = [each.normalised_points for each in impact(rates).groups]
    expected = spearmanr(np.log(counts), changes)
    assert (found.spearman, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.spearman == pytest.approx(1.0)
    tail, middle, head = found.parts
    assert (tail.name, middle.name, head.name) == ("tail", "middle", "head")
    assert (tail.classes, middle.classes, head.classes) == (("4", "5"), ("2", "3"), ("0", "1"))
    assert head.share == pytest.approx(1500 / 1662)
    assert sum(each.share for each in found.parts) == pytest.approx(1)
    assert tail.normalised_points == pytest.approx(np.mean(changes[4:]))  # type: ignore[arg-type]
    assert (tail.n_down, tail.n_up, tail.n_significant) == (2, 0, 2)
    assert head.n_down == 0


def test_spearman_by_hand() -> None:
    # Normalised differences fall in the order 1, 0, 3, 2: ranks 3 4 1 2 against 1 2 3 4 of the counts.
    found = long_tail(impact([0.3, 0.1, 0.9, 0.6]), training([1, 2, 3, 4]))
    assert found.spearman == pytest.approx(1 - 6 * (4 + 4 + 4 + 4) / (4 * 15))


def test_classes_of_equal_frequency_are_never_parted() -> None:
    found = long_tail(impact([0.1, 0.2, 0.3, 0.4, 0.5]), training([5, 5, 5, 5, 9]))
    assert [each.classes for each in found.parts] == [(), ("0", "1", "2", "3"), ("4",)]
    empty = found.parts[0]
    assert (empty.recall, empty.normalised_points, empty.n_significant, empty.share) == (None, None, 0, 0.0)
    assert found.spearman is not None


def test_equal_frequencies_have_no_correlation() -> None:
    found = long_tail(impact([0.1, 0.2, 0.3, 0.4]), training([7] * 4))
    assert (found.spearman, found.p) == (None, None)
    assert found.reason == "all classes are equally frequent in training: 7 samples each"
    assert [len(each.classes) for each in found.parts] == [0, 4, 0]


def test_two_classes_and_equal_changes_have_no_correlation() -> None:
    assert "at least 3 classes with samples, not 2" in str(
        long_tail(impact([0.1, 0.5]), training([1, 2])).reason
    )
    dense, truth = drawn(3, 0, [0.1] * 4)
    same = class_impact(dense, dense, truth, 4)
    assert long_tail(same, training([1, 2, 3, 4])).reason == "all classes changed alike"


def test_classes_without_test_samples_are_left_out_and_unseen_ones_are_the_rarest() -> None:
    found = long_tail(impact([0.1, 0.2, 0.3, 0.4], classes=5), np.repeat([1, 2, 3, 4], [5, 9, 20, 10]))
    assert found.classes == 4
    assert found.parts[0].classes == ("0",)
    assert all("4" not in each.classes for each in found.parts)
    assert sum(each.share for each in found.parts) == pytest.approx(34 / 44)


def test_renaming_classes_changes_nothing() -> None:
    (dense, truth), (harmed, _) = drawn(3, 0, [0.1] * 6), drawn(3, 1, [0.1, 0.9, 0.2, 0.6, 0.4, 0.3])
    labels, names = training([3, 3, 5, 8, 8, 20]), np.array([2, 0, 5, 1, 4, 3])
    one = long_tail(class_impact(dense, harmed, truth, 6), labels)
    two = long_tail(class_impact(names[dense], names[harmed], names[truth], 6), names[labels])
    assert (two.spearman, two.p) == pytest.approx((one.spearman, one.p))
    for a, b in zip(one.parts, two.parts, strict=True):
        assert {str(names[int(each)]) for each in a.classes} == set(b.classes)
        assert b.normalised_points == pytest.approx(a.normalised_points)


def test_the_document_is_json() -> None:
    for counts in ([1, 2, 3, 4], [7] * 4):
        found = long_tail(impact([0.1, 0.2, 0.3, 0.4]), training(counts)).to_json()
        assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "must be integers of shape"),
        ([0.5], "not float64"),
        ([0, 4], r"span 0\.\.4"),
        ([-1], r"span -1\.\.-1"),
    ],
)
def test_training_labels_that_do_not_fit_are_refused(labels: list[int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        long_tail(impact([0.1, 0.2, 0.3, 0.4]), labels)
