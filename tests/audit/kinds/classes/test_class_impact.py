from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ttest_ind
from sklearn.metrics import recall_score

from leanfront.core.audit.kinds.classes.class_impact import (
    class_impact,
    detectable_effect,
    group_impact,
)
from leanfront.errors import UsageError

Integers = NDArray[np.int64]


def drawn(
    k: int, seed: int, errs: float | list[float], n: int = 400, classes: int = 5
) -> tuple[Integers, Integers]:
    """Predictions (K, N) that err independently, by class if asked, and the truth."""
    random = np.random.default_rng(seed)
    truth = np.arange(n) % classes
    rate = np.broadcast_to(errs, classes)[truth]
    wrong = random.random((k, n)) < rate
    return np.where(wrong, (truth + random.integers(1, classes, (k, n))) % classes, truth), truth


def predictions(rights: list[list[int]], each: int) -> tuple[Integers, Integers]:
    """Predictions of which so many a class are right: rows are models, columns classes of `each` samples."""
    classes = len(rights[0])
    truth = np.repeat(np.arange(classes), each)
    place = np.tile(np.arange(each), classes)
    return np.stack([np.where(place < np.array(row)[truth], truth, -1) for row in rights]), truth


def test_a_hand_worked_example_pins_signs_and_units() -> None:
    dense, truth = predictions([[4, 2], [3, 3]], 4)  # both models: 6 of 8
    other, _ = predictions([[2, 2], [1, 3]], 4)  # both: 4 of 8
    found = class_impact(dense, other, truth, ["cat", "dog"], alpha=0.3)
    assert (found.dense_top1, found.top1) == (0.75, 0.5)
    cat, dog = found.groups
    # Top-1 fell by 25 points. Cats fell from 87.5% to 37.5%: 25 points more than their part.
    assert (cat.name, cat.support, cat.dense_recall, cat.recall) == ("cat", 4, 0.875, 0.375)
    assert (cat.absolute_points, cat.normalised_points, cat.direction) == (-50.0, -25.0, "down")
    # Dogs stayed: 25 points better than the model as a whole.
    assert (dog.dense_recall, dog.recall) == (0.625, 0.625)
    assert (dog.absolute_points, dog.normalised_points, dog.direction) == (0.0, 25.0, "up")
    # x of cats: .25, 0 dense and 0, -.25 compressed: t = .25 / sqrt(.03125 / 2 + .03125 / 2) = sqrt 2, above 0 for
    # a loss; with 2 degrees of freedom p = 1 - t / sqrt(2 + t t).
    assert cat.t == pytest.approx(math.sqrt(2))
    assert dog.t == pytest.approx(-math.sqrt(2))
    for each in (cat, dog):
        assert each.p == pytest.approx(1 - math.sqrt(2) / 2)
        assert each.q == pytest.approx(1 - math.sqrt(2) / 2)
        assert each.status == "significant"
    expected = {
        "n_significant": 2,
        "n_up": 1,
        "n_down": 1,
        "mean_gain_points": 25.0,
        "mean_loss_points": -25.0,
    }
    assert found.counts() == found.counts(corrected=True) == expected
    strict = class_impact(dense, other, truth, ["cat", "dog"])
    assert [each.status for each in strict.groups] == ["not", "not"]
    assert strict.counts()["mean_loss_points"] is None


@pytest.mark.filterwarnings("ignore:Precision loss occurred")  # scipy's, where a population does not vary
@pytest.mark.parametrize("centre", ["population", "member"])
@pytest.mark.parametrize(("k", "other"), [(2, 2), (3, 7), (10, 10)])
def test_every_class_equals_scipy(k: int, other: int, centre: str) -> None:
    (dense, truth), (harmed, _) = drawn(k, 0, 0.2), drawn(other, 1, [0.2, 0.2, 0.3, 0.5, 0.8])
    found = class_impact(dense, harmed, truth, 5, centre=centre)
    x = []
    for each in (dense, harmed):
        share = np.stack([recall_score(truth, member, average=None) for member in each])
        own = (each == truth).mean(axis=1, keepdims=True)
        x.append(share - (own if centre == "member" else own.mean()))
    for index, each in enumerate(found.groups):
        t, p = ttest_ind(x[0][:, index], x[1][:, index], equal_var=False)
        assert (each.t, each.p) == pytest.approx((t, p), rel=1e-9)
        assert each.status == ("significant" if p <= 0.05 else "not")
        assert each.normalised_points == pytest.approx(100 * (x[1] - x[0].mean(axis=0)).mean(axis=0)[index])
        assert each.direction == ("up" if each.normalised_points > 0 else "down")
        assert (each.t > 0) == (each.direction == "down")


def test_centres_differ_in_p_alone() -> None:
    (dense, truth), (harmed, _) = drawn(6, 0, 0.2), drawn(6, 1, [0.2, 0.2, 0.3, 0.5, 0.8])
    one = class_impact(dense, harmed, truth, 5).groups
    two = class_impact(dense, harmed, truth, 5, centre="member").groups
    assert [each.normalised_points for each in one] == [each.normalised_points for each in two]
    assert [each.p for each in one] != [each.p for each in two]


def test_welch_by_hand() -> None:
    dense, truth = predictions([[9, 4], [8, 6], [7, 5]], 10)
    other, _ = predictions([[3, 5], [7, 6]], 10)
    found = class_impact(dense, other, truth, 2).groups[0]
    a, b = (
        np.array([0.9, 0.8, 0.7]) - np.mean([0.65, 0.7, 0.6]),
        np.array([0.3, 0.7]) - np.mean([0.4, 0.65]),
    )
    error = a.var(ddof=1) / 3 + b.var(ddof=1) / 2
    assert found.t == pytest.approx((a.mean() - b.mean()) / math.sqrt(error))


def test_q_is_benjamini_and_hochbergs_among_the_tested() -> None:
    truth = np.tile(np.arange(6), 50)
    dense, harmed = drawn(4, 0, 0.3, 300, 6)[0], drawn(4, 1, [0.3, 0.3, 0.5, 0.4, 0.6, 0.9], 300, 6)[0]
    found = class_impact(dense, harmed, truth, 7)  # the seventh class has no samples
    p = np.array([each.p for each in found.groups[:6]], dtype=float)
    order = np.argsort(p)
    expected = np.minimum.accumulate((p[order] * 6 / np.arange(1, 7))[::-1])[::-1]
    assert [found.groups[i].q for i in order] == pytest.approx(np.minimum(expected, 1).tolist())
    assert found.groups[6].q is None
    assert {each.name for each in found.found(corrected=True)} <= {each.name for each in found.found()}


def test_classes_that_do_not_vary_and_agree_are_undetermined() -> None:
    dense, truth = predictions([[5, 2, 3], [5, 3, 2]], 6)
    other, _ = predictions([[5, 2, 3], [5, 1, 4]], 6)
    found = class_impact(dense, other, truth, 3)
    assert (found.groups[0].status, found.groups[0].direction) == ("undetermined", "none")
    assert (found.groups[0].t, found.groups[0].p, found.groups[0].q) == (None, None, None)
    assert found.groups[0].normalised_points == 0.0
    assert {each.status for each in found.groups[1:]} == {"not"}
    assert found.to_json()["undetermined"] == 1
    assert found.to_json()["tested"] == 2
    assert found.to_json()["expected_by_chance"] == pytest.approx(0.1)


def test_classes_that_do_not_vary_but_differ_are_degenerate() -> None:
    dense, truth = predictions([[5, 2, 3], [5, 3, 2]], 6)
    other, _ = predictions([[4, 2, 3], [4, 1, 4]], 6)
    found = class_impact(dense, other, truth, 3)
    first = found.groups[0]
    assert (first.status, first.direction, first.p, first.q) == ("degenerate", "down", None, None)
    assert first.normalised_points == pytest.approx(100 * (-1 / 6 + 1 / 18))
    assert found.counts()["n_significant"] == 0
    assert found.to_json()["degenerate"] == 1


def test_one_population_that_does_not_vary_is_tested() -> None:
    dense, truth = predictions([[5, 3], [5, 3], [5, 3]], 6)
    other, _ = predictions([[1, 3], [2, 3], [3, 4]], 6)
    found = class_impact(dense, other, truth, 2)
    x = np.array([1, 2, 3]) / 6 - np.mean([4, 5, 7]) / 12
    t = (5 / 6 - 8 / 12 - x.mean()) / math.sqrt(x.var(ddof=1) / 3)
    assert found.groups[0].t == pytest.approx(t)
    assert found.groups[0].status != "degenerate"


def test_copies_of_one_model_are_all_undetermined_or_degenerate() -> None:
    dense, truth = predictions([[5, 3], [5, 3]], 6)
    other, _ = predictions([[4, 4], [4, 4]], 6)
    same, changed = class_impact(dense, dense, truth, 2), class_impact(dense, other, truth, 2)
    assert {each.status for each in same.groups} == {"undetermined"}
    assert {each.status for each in changed.groups} == {"degenerate"}
    assert changed.to_json()["tested"] == 0


def test_a_class_without_samples_is_excluded_and_named() -> None:
    dense, truth = drawn(3, 0, 0.2)
    found = class_impact(dense, drawn(3, 1, 0.4)[0], truth, ["a", "b", "c", "d", "e", "yeti"])
    assert found.excluded == ("yeti",)
    yeti = found.groups[5]
    assert (yeti.status, yeti.support, yeti.recall, yeti.normalised_points) == ("excluded", 0, None, None)
    assert found.to_json()["excluded"] == ["yeti"]


def test_one_model_is_refused() -> None:
    dense, truth = drawn(3, 0, 0.2)
    for pair in ((dense[:1], dense), (dense, dense[:1])):
        with pytest.raises(UsageError, match=r"needs two or more (dense|compressed) models, not 1"):
            class_impact(*pair, truth, 5)


@pytest.mark.parametrize(("k", "effect"), [(3, 3.07), (5, 2.02), (10, 1.32), (30, 0.74)])
def test_detectable_effects(k: int, effect: float) -> None:
    assert detectable_effect(k) == pytest.approx(effect, abs=0.005)
    assert class_impact(*two(k), np.arange(40) % 2, 2).detectable == detectable_effect(k)


def two(k: int) -> tuple[Integers, Integers]:
    return drawn(k, 0, 0.3, 40, 2)[0], drawn(k + 1, 1, 0.3, 40, 2)[0]


@pytest.mark.parametrize("k", [3, 10])
def test_the_detectable_effect_is_found_as_often_as_said(k: int) -> None:
    random, effect = np.random.default_rng(0), detectable_effect(k)
    a, b = random.standard_normal((2, k, 20_000))
    p = ttest_ind(a, b + effect).pvalue
    assert (p <= 0.05).mean() == pytest.approx(0.8, abs=0.01)


def test_detectable_effects_fall_with_models_and_rise_with_power() -> None:
    effects = [detectable_effect(k) for k in (2, 3, 8, 100, 1000)]
    assert effects == sorted(effects, reverse=True)
    assert detectable_effect(5, 0.9) > detectable_effect(5, 0.5)
    assert detectable_effect(5, alpha=0.01) > detectable_effect(5)
    for arguments in ((1,), (3, 0.04), (3, 1.0), (3, 0.8, 0.0)):
        with pytest.raises(UsageError, match="need k >= 2"):
            detectable_effect(*arguments)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4), st.integers(2, 4))
def test_order_and_names_do_not_matter(seed: int, k: int, other: int) -> None:
    (dense, truth), (harmed, _) = drawn(k, seed, 0.3, 30, 4), drawn(other, seed + 1, 0.5, 30, 4)
    random = np.random.default_rng(seed)
    found = class_impact(dense, harmed, truth, 4)
    order, names = random.permutation(30), random.permutation(4)
    mixed = class_impact(
        names[random.permutation(dense)[:, order]],
        names[random.permutation(harmed)[:, order]],
        names[truth[order]],
        4,
    )
    for index, each in enumerate(found.groups):
        twin = mixed.groups[names[index]]
        assert (twin.status, twin.direction, twin.support) == (each.status, each.direction, each.support)
        for name in ("recall", "absolute_points", "normalised_points", "t", "p", "q"):
            expected = getattr(each, name)
            assert getattr(twin, name) == (None if expected is None else pytest.approx(expected, abs=1e-9))


def test_normalised_differences_weigh_to_zero() -> None:
    (dense, truth), (harmed, _) = drawn(3, 0, 0.2), drawn(3, 1, [0.2, 0.9, 0.3, 0.5, 0.8])
    groups = class_impact(dense, harmed, truth, 5).groups
    assert sum(each.support * (each.normalised_points or 0) for each in groups) == pytest.approx(0, abs=1e-9)


def test_labels_and_answers_of_any_integer_type() -> None:
    (dense, truth), (harmed, _) = drawn(3, 0, 0.3), drawn(3, 1, 0.4)
    found = class_impact(torch.from_numpy(dense), harmed, truth.astype(np.uint16), 6)
    assert found.groups == class_impact(dense, harmed, truth, 6).groups
    assert found.excluded == ("5",)


def test_samples_of_no_group_still_count_in_top1() -> None:
    (dense, truth), (harmed, _) = drawn(3, 0, 0.2), drawn(3, 1, 0.4)
    groups = np.where(truth == 0, 0, -1)
    found = group_impact(dense == truth, harmed == truth, groups, ["zero"])
    zero = class_impact(dense, harmed, truth, 5).groups[0]
    assert found.groups == (replace(zero, name="zero", q=zero.p),)
    assert found.top1 == float((harmed == truth).mean())


def test_read_only_arrays_are_read() -> None:
    dense, truth = drawn(3, 0, 0.2)
    for each in (dense, truth):
        each.setflags(write=False)
    hits = dense[:, ::-1] == truth[::-1]
    hits.setflags(write=False)
    assert (
        class_impact(dense, dense, truth, 5).top1 == group_impact(hits, hits, truth[::-1], list("abcde")).top1
    )


def test_the_document_is_json() -> None:
    dense, truth = drawn(3, 0, 0.2)
    found = class_impact(dense, drawn(3, 1, 0.4)[0], truth, 6).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(found["groups"]) == 6
    assert found["by_p"]["n_significant"] == found["by_p"]["n_up"] + found["by_p"]["n_down"]
    assert found["detectable_effect"] == pytest.approx(3.07, abs=0.005)


def test_what_does_not_fit_is_refused() -> None:
    dense, truth = drawn(3, 0, 0.2)
    hits = dense == truth
    with pytest.raises(UsageError, match="predictions must be integers"):
        class_impact(dense * 1.0, dense, truth, 5)
    with pytest.raises(UsageError, match="labels must be integers"):
        class_impact(dense, dense, truth * 1.0, 5)
    with pytest.raises(UsageError, match=r"not \(3, 400\) and \(399,\)"):
        class_impact(dense, dense, truth[1:], 5)
    with pytest.raises(UsageError, match="labels must not be negative"):
        class_impact(dense, dense, truth - 1, 5)
    with pytest.raises(UsageError, match=r"groups span 0\.\.4"):
        class_impact(dense, dense, truth, 4)
    with pytest.raises(UsageError, match="hits must be bool"):
        group_impact(dense, hits, truth, list("abcde"))
    with pytest.raises(UsageError, match="the same samples, not 400 and 399"):
        group_impact(hits, hits[:, 1:], truth, list("abcde"))
    with pytest.raises(UsageError, match="alpha must lie in"):
        class_impact(dense, dense, truth, 5, alpha=1.0)
    with pytest.raises(UsageError, match="unknown centre 'median'"):
        class_impact(dense, dense, truth, 5, centre="median")
