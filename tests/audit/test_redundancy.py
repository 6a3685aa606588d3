"""Correlations against scipy's, clusters against constructed effects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from leanfront.core.audit.redundancy import effects, redundancy
from leanfront.errors import UsageError

NAMES = ("blur", "noise", "zoom", "speckle", "fog")


def grouped(candidates: int = 12) -> np.ndarray:
    """Effects in which blur and zoom, and noise and speckle, go together, and fog goes alone."""
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(candidates, 3))
    return sources[:, [0, 1, 0, 1, 2]] + 0.02 * rng.normal(size=(candidates, 5))


@pytest.mark.parametrize("method", ["spearman", "pearson"])
def test_groups_are_found_and_lie_together(method: str) -> None:
    found = redundancy(grouped(), NAMES, method=method)
    assert {frozenset(cluster.members) for cluster in found.clusters} == {
        frozenset({"blur", "zoom"}),
        frozenset({"noise", "speckle"}),
        frozenset({"fog"}),
    }
    assert sorted(found.order) == sorted(NAMES)
    assert [name for cluster in found.clusters for name in cluster.members] == list(found.order)
    # Two correlate with each other alike: the first given stands for both.
    assert {cluster.representative for cluster in found.clusters} == {"blur", "noise", "fog"}
    assert (found.method, found.cut, found.candidates, found.constant) == (method, 0.9, 12, ())


def test_correlations_equal_scipys() -> None:
    drops = grouped(7).round(1)  # with ties
    found = redundancy(drops, NAMES)
    for i in range(5):
        for j in range(5):
            assert found.spearman[i][j] == pytest.approx(spearmanr(drops[:, i], drops[:, j]).statistic)
            assert found.pearson[i][j] == pytest.approx(pearsonr(drops[:, i], drops[:, j]).statistic)
    assert all(found.spearman[i][i] == 1 for i in range(5))


def test_the_representative_is_the_member_nearest_to_all_others() -> None:
    # b lies between a and c.
    a, c = np.random.default_rng(1).normal(size=(2, 50))
    found = redundancy(np.stack([a, a + c, c], axis=1), ("a", "b", "c"), cut=0.0, method="pearson")
    assert [cluster.representative for cluster in found.clusters] == ["b"]


def test_the_cut_is_a_mean_correlation() -> None:
    # Three candidates, effects of exact correlation: a and b .5, c with either -1 and -.5.
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0])
    drops = np.stack([a, b, -a], axis=1)
    names = ("a", "b", "c")
    together = {
        cut: len(redundancy(drops, names, cut=cut).clusters) for cut in (0.51, 0.5, -0.7, -0.75, -0.8)
    }
    # a and b join at .5; c joins them at the mean of -1 and -.5.
    assert together == {0.51: 3, 0.5: 2, -0.7: 2, -0.75: 1, -0.8: 1}


def test_constant_effects_are_named_and_left_out() -> None:
    drops = grouped()
    drops[:, 3] = 0.1 + 1e-15 * np.arange(12)
    found = redundancy(drops, NAMES)
    assert found.constant == ("speckle",)
    assert found.corruptions == ("blur", "noise", "zoom", "fog")
    assert len(found.pearson) == len(found.spearman) == 4
    for left in (0, 1):
        few = redundancy(np.where(np.arange(5) < left, drops, 0.0), NAMES)
        assert few.order == few.corruptions == NAMES[:left]
        assert [cluster.members for cluster in few.clusters] == [("blur",)] * left
        assert few.pearson == ((1.0,),) * left
        json.dumps(few.to_json(), allow_nan=False)


def test_effects_are_drops_of_the_mean_over_severities() -> None:
    accuracy = [[[0.8, 0.6], [0.5, 0.5]], [[0.9, 0.9], [0.1, 0.3]]]
    assert effects(accuracy, [0.9, 1.0]) == pytest.approx(np.array([[0.2, 0.4], [0.1, 0.8]]))
    with pytest.raises(UsageError, match="effects need accuracies"):
        effects(accuracy, [0.9])
    with pytest.raises(UsageError, match="effects need accuracies"):
        effects(accuracy[0], [0.9, 1.0])


def test_documents_are_json() -> None:
    data = redundancy(grouped(), NAMES).to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["clusters"][0].keys() == {"members", "representative"}


def test_what_does_not_fit_is_refused() -> None:
    drops = grouped()
    with pytest.raises(UsageError, match="need 3 of them or more, not 2"):
        redundancy(drops[:2], NAMES)
    with pytest.raises(UsageError, match="with distinct names"):
        redundancy(drops, NAMES[:4])
    with pytest.raises(UsageError, match="with distinct names"):
        redundancy(drops, (*NAMES[:4], "blur"))
    with pytest.raises(UsageError, match="unknown correlation 'kendall'; known: spearman, pearson"):
        redundancy(drops, NAMES, method="kendall")
    for cut in (-1.0, 1.1, float("nan")):
        with pytest.raises(UsageError, match="the cut"):
            redundancy(drops, NAMES, cut=cut)
    with pytest.raises(UsageError, match="NaN or infinite"):
        redundancy(np.where(drops > 1, np.nan, drops), NAMES)
