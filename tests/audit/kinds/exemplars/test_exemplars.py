from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.distance import cityblock
from scipy.stats import mode
from sklearn.metrics import accuracy_score

from leanfront.core.audit.kinds.exemplars.exemplars import exemplars, modal, noise_floor, taxicab
from leanfront.errors import UsageError

Integers = NDArray[np.int64]


@st.composite
def populations(draw: st.DrawFn) -> tuple[Integers, Integers, Integers]:
    """Dense (K, N) and compressed (L, N) predictions of few classes, so that ties are common, and the truth."""
    k, other, n, classes = (draw(st.integers(1, top)) for top in (7, 7, 12, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tuple(random.integers(0, classes, shape) for shape in ((k, n), (other, n), n))


def drawn(k: int, n: int, seed: int, errs: float, classes: int = 4) -> tuple[Integers, Integers]:
    """Predictions (K, N) that err independently, and the truth."""
    random = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(0, classes, n)
    wrong = random.random((k, n)) < errs
    return np.where(wrong, random.integers(0, classes, (k, n)), truth), truth


@settings(deadline=None)
@given(populations())
def test_modal_labels_equal_a_count_and_scipy(given: tuple[Integers, Integers, Integers]) -> None:
    predictions = given[0]
    found = modal(predictions)
    for place, column in enumerate(predictions.T):
        votes = Counter(column.tolist())
        most = max(votes.values())
        first = [label for label, count in votes.items() if count == most]
        assert found.labels[place] == max(first)
        assert found.shares[place] == most / len(predictions)
        assert found.tied[place] == (len(first) > 1)
    # scipy breaks ties towards the smallest: of the negated labels it is the largest.
    assert found.labels.tolist() == (-mode(-predictions, axis=0).mode).tolist()


def test_a_tie_goes_to_the_largest_label_and_is_flagged() -> None:
    found = modal([[0, 3, 1], [2, 1, 1], [0, 1, 1], [2, 3, 0]])
    assert found.labels.tolist() == [2, 3, 1]
    assert found.tied.tolist() == [True, True, False]
    assert found.shares.tolist() == [0.5, 0.5, 0.75]


@settings(deadline=None)
@given(populations())
def test_the_score_equals_the_distance_of_histograms(given: tuple[Integers, Integers, Integers]) -> None:
    dense, other, _ = given
    found = taxicab(dense, other)
    for place in range(dense.shape[1]):
        first, second = (np.bincount(each[:, place], minlength=5) / len(each) for each in (dense, other))
        assert found[place] == pytest.approx(cityblock(first, second) / 2, abs=1e-12)
    assert found.tolist() == taxicab(other, dense).tolist()
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_score_is_zero_and_one_exactly_at_its_ends() -> None:
    dense = np.array([[0, 1], [1, 1], [2, 0]])
    assert taxicab(dense, dense[[2, 0, 1, 1, 0, 2]]).tolist() == [0.0, 0.0]
    assert taxicab(dense, dense + 3).tolist() == [1.0, 1.0]
    # Shares 1/3 1/3 1/3 against 1/2 0 1/2, and 1/3 2/3 against 0 1.
    assert taxicab(dense, np.array([[0, 1], [2, 1]])).tolist() == [1 / 3, 1 / 3]


def test_a_hand_worked_population() -> None:
    truth = np.array([0, 1, 2, 0])
    dense = np.array([[0, 1, 2, 1], [0, 1, 1, 1], [0, 2, 1, 0]])  # modes 0 1 1 1
    other = np.array([[0, 2, 2, 1], [0, 2, 2, 2], [1, 1, 2, 0]])  # modes 0 2 2 2: a tie of three
    found = exemplars(dense, other, truth, dense_top5=dense >= 0, top5=other == truth)
    assert found.dense.labels.tolist() == [0, 1, 1, 1]
    assert found.compressed.labels.tolist() == [0, 2, 2, 2]
    assert found.compressed.tied.tolist() == [False, False, False, True]
    assert found.mask.tolist() == [False, True, True, True]
    assert found.rate == 75.0
    assert found.scores.tolist() == [1 / 3, 1 / 3, 2 / 3, 1 / 3]
    assert found.score == pytest.approx(5 / 12)
    # By score, then by the dense mode's share (all 2/3), then by number.
    assert found.ranking.tolist() == [2, 1, 3]
    assert (found.dense_right, found.compressed_right) == (1, 1)
    whole, hard, rest = (found.subsets[name] for name in ("all", "exemplars", "others"))
    assert (whole.count, hard.count, rest.count) == (4, 3, 1)
    assert whole.dense_top1 == pytest.approx(7 / 12)
    assert whole.top1 == pytest.approx(7 / 12)
    assert hard.dense_top1 == pytest.approx(4 / 9)
    assert hard.top1 == pytest.approx(5 / 9)
    assert rest.dense_top1 == 1.0
    assert rest.top1 == pytest.approx(2 / 3)
    assert (hard.dense_top5, hard.top5) == (1.0, pytest.approx(5 / 9))


def test_accuracies_equal_scikit_learn() -> None:
    dense, truth = drawn(5, 300, 0, 0.3)
    other, _ = drawn(4, 300, 1, 0.6)
    found = exemplars(dense, other, truth)
    for name, chosen in (("all", truth >= 0), ("exemplars", found.mask), ("others", ~found.mask)):
        subset = found.subsets[name]
        assert subset.count == chosen.sum()
        expected = [np.mean([accuracy_score(truth[chosen], m[chosen]) for m in p]) for p in (dense, other)]
        assert (subset.dense_top1, subset.top1) == pytest.approx(tuple(expected))
        assert (subset.dense_top5, subset.top5) == (None, None)


def test_the_truth_does_not_make_exemplars() -> None:
    dense, truth = drawn(3, 50, 0, 0.5)
    other, _ = drawn(3, 50, 1, 0.5)
    one, two = exemplars(dense, other, truth), exemplars(dense, other, (truth + 1) % 4)
    assert one.mask.tolist() == two.mask.tolist()
    assert one.ranking.tolist() == two.ranking.tolist()
    assert one.floor == two.floor


def test_equal_scores_are_ranked_by_the_dense_share() -> None:
    # Both change one of three votes' worth: 2/3 against 1/3 of the dense models for the mode.
    dense = np.array([[0, 0], [1, 0], [2, 1]])
    other = np.array([[0, 1], [1, 1], [1, 0]])
    found = exemplars(dense, other, [0, 0])
    assert found.mask.tolist() == [True, True]
    assert found.scores.tolist() == [1 / 3, 1 / 3]
    assert found.ranking.tolist() == [1, 0]


@settings(deadline=None)
@given(populations(), st.integers(0, 1000))
def test_order_and_names_do_not_matter(given: tuple[Integers, Integers, Integers], seed: int) -> None:
    dense, other, truth = given
    random = np.random.default_rng(seed)
    found = exemplars(dense, other, truth)
    order = random.permutation(len(truth))
    mixed = exemplars(random.permutation(dense)[:, order], random.permutation(other)[:, order], truth[order])
    assert mixed.mask.tolist() == found.mask[order].tolist()
    assert mixed.scores.tolist() == found.scores[order].tolist()
    assert (mixed.dense_right, mixed.compressed_right) == (found.dense_right, found.compressed_right)
    names = random.permutation(5)
    renamed = exemplars(names[dense], names[other], names[truth])
    assert renamed.scores.tolist() == found.scores.tolist()
    firm = ~(found.dense.tied | found.compressed.tied)
    assert renamed.mask[firm].tolist() == found.mask[firm].tolist()
    assert renamed.subsets["all"] == found.subsets["all"]


def test_two_dense_models_have_one_split() -> None:
    dense, _ = drawn(2, 200, 0, 0.4)
    floor = noise_floor(dense, dense)
    differ = float((dense[0] != dense[1]).mean())
    assert (floor.rate, floor.rate_low, floor.rate_high) == pytest.approx((100 * differ,) * 3)
    assert floor.score == pytest.approx(differ)
    assert (floor.members, floor.splits) == (1, 20)


def test_an_odd_population_leaves_another_model_out_each_time() -> None:
    dense, _ = drawn(3, 400, 0, 0.4)
    floor = noise_floor(dense, dense, splits=200)
    pairs = [100 * float((dense[a] != dense[b]).mean()) for a, b in combinations(range(3), 2)]
    assert floor.members == 1
    assert (floor.rate_low, floor.rate_high) == (min(pairs), max(pairs))
    assert floor.rate == pytest.approx(np.mean(pairs), abs=0.5)


def test_all_splits_of_four_average_to_the_floor() -> None:
    dense, _ = drawn(4, 300, 5, 0.4)
    halves = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    exact = [np.mean(modal(dense[list(a)]).labels != modal(dense[list(b)]).labels) for a, b in halves]
    scores = [taxicab(dense[list(a)], dense[list(b)]).mean() for a, b in halves]
    floor = noise_floor(dense, dense, splits=600)
    assert floor.rate == pytest.approx(100 * np.mean(exact), abs=0.5)
    assert floor.score == pytest.approx(np.mean(scores), abs=0.005)


def test_the_floor_is_seeded() -> None:
    dense, truth = drawn(7, 300, 0, 0.3)
    assert noise_floor(dense, dense, seed=1) == noise_floor(dense, dense, seed=1)
    assert noise_floor(dense, dense, seed=1) != noise_floor(dense, dense, seed=2)
    assert exemplars(dense, dense, truth, splits=3).floor == noise_floor(dense, dense, splits=3)


def test_models_that_changed_nothing_lie_on_the_floor_at_its_size() -> None:
    dense, truth = drawn(8, 300, 0, 0.4)
    found = exemplars(dense, dense, truth)
    assert (found.rate, found.score) == (0.0, 0.0)
    assert found.floor is not None
    assert found.floor.rate > 0
    # Whole populations of the same models never differ: only at the floor's size is the comparison fair.
    assert (found.floor.matched_rate, found.floor.matched_score) == (found.floor.rate, found.floor.score)


def test_damage_lies_above_the_floor_whatever_the_sizes() -> None:
    dense, _ = drawn(6, 2000, 0, 0.2)
    for members in (2, 6, 9):
        harmed, _ = drawn(members, 2000, 1, 0.7)
        floor = noise_floor(dense, harmed)
        assert floor.matched_rate > 2 * floor.rate_high
        assert floor.matched_score > floor.score


def test_one_model_of_each_has_everything_but_a_floor() -> None:
    found = exemplars([[0, 1, 2]], [[0, 2, 1]], [0, 1, 1])
    assert found.mask.tolist() == [False, True, True]
    assert found.scores.tolist() == [0.0, 1.0, 1.0]
    assert found.floor is None
    assert found.floor_reason == "one dense model cannot be split in two halves"
    assert not found.dense.tied.any()
    assert found.to_json()["floor"] is None


def test_without_exemplars_their_accuracy_is_undefined() -> None:
    found = exemplars([[0, 1]], [[0, 1]], [0, 0])
    assert found.rate == 0.0
    assert len(found.ranking) == 0
    assert (found.subsets["exemplars"].count, found.subsets["exemplars"].top1) == (0, None)
    assert found.subsets["others"] == found.subsets["all"]


def test_tensors_and_small_integers_are_read() -> None:
    dense, truth = drawn(3, 40, 0, 0.5, classes=4)
    small = exemplars(torch.from_numpy(dense), dense[::-1].astype(np.uint8), truth.astype(np.int16))
    assert small.rate == 0.0
    assert small.scores.tolist() == [0.0] * 40


def test_the_document_is_json_and_its_gallery_bounded() -> None:
    dense, truth = drawn(4, 200, 0, 0.5)
    other, _ = drawn(4, 200, 1, 0.9)
    found = exemplars(dense, other, truth)
    document = found.to_json(gallery=3)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["count"] == found.mask.sum() > 3
    assert document["rate"] == found.rate
    parts = ("dense_right", "compressed_right", "neither_right")
    assert sum(document[part] for part in parts) == document["count"]
    assert [each["index"] for each in document["gallery"]] == found.ranking[:3].tolist()
    first = document["gallery"][0]
    assert first["dense"] == found.dense.labels[first["index"]] != first["compressed"]
    assert document["tied_exemplars"] <= document["dense_ties"] + document["compressed_ties"]


def test_what_does_not_fit_is_refused() -> None:
    one = np.zeros((2, 3), dtype=int)
    with pytest.raises(UsageError, match="must be integers, the numbers of classes, not float64"):
        modal(one * 1.0)
    with pytest.raises(
        UsageError, match=r"must have shape \(models, samples\), at least one of each, not \(3,\)"
    ):
        modal(one[0])
    with pytest.raises(UsageError, match=r"at least one of each, not \(0, 3\)"):
        modal(one[:0])
    with pytest.raises(UsageError, match="the same samples, not 3 dense and 2 compressed"):
        noise_floor(one, one[:, :2])
    with pytest.raises(UsageError, match=r"truth must have shape \(3,\)"):
        exemplars(one, one, [0, 0])
    with pytest.raises(UsageError, match="of both populations, or of neither"):
        exemplars(one, one, [0, 0, 0], top5=one == 0)
    with pytest.raises(UsageError, match=r"must be bool of shape \(2, 3\), not int64"):
        exemplars(one, one, [0, 0, 0], top5=one, dense_top5=one == 0)
    with pytest.raises(UsageError, match="two or more dense models"):
        noise_floor(one[:1], one)
    with pytest.raises(UsageError, match="at least one split"):
        noise_floor(one, one, splits=0)
