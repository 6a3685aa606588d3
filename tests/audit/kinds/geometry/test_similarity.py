"""Maps against planted configurations, trees against brute force, distances against their definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.distance import cdist

from leanfront.core.audit.kinds.geometry.similarity import (
    CLIP,
    between,
    distances,
    mapped,
    scaling,
    tree,
    umap_points,
    vectors,
)
from leanfront.errors import UsageError

RNG = np.random.default_rng(0)


def test_a_planted_plane_is_found_up_to_rotation() -> None:
    planted = RNG.normal(size=(12, 2)) * (3, 1)
    rotation = np.linalg.qr(RNG.normal(size=(7, 7)))[0][:, :2]
    apart = cdist(planted @ rotation.T, planted @ rotation.T)
    points, explained = scaling(apart)
    assert procrustes(planted, points)[2] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(cdist(points, points), apart, atol=1e-9)
    assert sum(explained) == pytest.approx(1)
    spectrum = np.linalg.svd(planted - planted.mean(0), compute_uv=False) ** 2
    assert explained == pytest.approx(tuple(spectrum / spectrum.sum()))


def test_what_the_plane_does_not_show_is_not_explained() -> None:
    cube = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    _, explained = scaling(cdist(cube, cube))
    assert explained == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_or_equal_representations_have_a_map(count: int) -> None:
    found = mapped(np.zeros((count, count)))
    np.testing.assert_array_equal(found.points, np.zeros((count, 2)))
    assert len(found.links) == count - 1
    assert all(length == 0 for length in found.lengths)
    assert np.isnan(found.explained[0])


def connected(pairs: tuple[tuple[int, int], ...], count: int) -> bool:
    reached = {0}
    for _ in range(count):
        reached |= {b for a, b in pairs if a in reached} | {a for a, b in pairs if b in reached}
    return len(reached) == count


def test_the_tree_is_the_lightest_of_all() -> None:
    for _ in range(5):
        points = RNG.normal(size=(5, 3))
        apart = cdist(points, points)
        every = list(itertools.combinations(range(5), 2))
        lightest = min(
            sum(apart[pair] for pair in chosen)
            for chosen in itertools.combinations(every, 4)
            if connected(chosen, 5)
        )
        links, lengths = tree(apart)
        assert connected(links, 5)
        assert sum(lengths) == pytest.approx(lightest)
        assert [apart[pair] for pair in links] == pytest.approx(lengths)
        assert list(lengths) == sorted(lengths)


def test_equal_representations_are_linked_without_length() -> None:
    line = np.array([[0.0], [1.0], [1.0], [5.0]])
    links, lengths = tree(cdist(line, line))
    assert lengths == pytest.approx((0.0, 1.0, 4.0))
    assert links[0] == (1, 2)


def test_measures_are_standardised_one_by_one() -> None:
    normal = RNG.normal(size=(20, 2, 2000))
    table = np.stack([normal[:, 0] * 50 + 7, normal[:, 1] * 1e-3, np.full((20, 2000), 4.0)], axis=1)
    found = vectors(table).reshape(20, 3, 2000)
    np.testing.assert_allclose(found[:, 2], 0)
    for place in range(2):
        assert np.median(found[:, place]) == pytest.approx(0, abs=1e-9)
        assert found[:, place].std() == pytest.approx(1, abs=0.02)


def test_one_model_that_fell_apart_does_not_hide_the_others() -> None:
    table = RNG.normal(size=(10, 1, 50))
    table[0] *= 1e4
    found = vectors(table)
    assert np.abs(found).max() == CLIP
    assert found[1:].std() > 0.5


def test_distances_are_root_mean_squares_of_what_both_know() -> None:
    table = RNG.normal(size=(4, 6))
    np.testing.assert_allclose(distances(table), cdist(table, table) / np.sqrt(6), atol=1e-9)
    table[0, 1] = np.nan
    known = [0, 2, 3, 4, 5]
    expected = np.sqrt(((table[0] - table[2])[known] ** 2).mean())
    assert distances(table)[0, 2] == pytest.approx(expected)


def test_who_has_nothing_in_common_is_as_far_as_the_farthest() -> None:
    table = np.array([[np.nan, np.nan], [0.0, 0.0], [3.0, 4.0]])
    found = distances(table)
    assert found[0, 1] == found[0, 2] == found[1, 2] == pytest.approx(5 / np.sqrt(2))
    assert np.all(np.diag(found) == 0)
    with pytest.raises(UsageError):
        distances(np.full((2, 2), np.nan))


def test_criteria_are_compared_at_equal_ratio() -> None:
    names, ratios = ["dense", "a", "a", "b", "b", "c"], [np.nan, 0.5, 0.9, 0.9, 0.5, 0.1]
    apart = np.arange(36.0).reshape(6, 6)
    apart = apart + apart.T
    order, found = between(apart, names, ratios)
    assert order == ("dense", "a", "b", "c")
    assert found[1, 2] == (apart[1, 4] + apart[2, 3]) / 2
    assert found[0, 2] == (apart[0, 3] + apart[0, 4]) / 2
    assert np.isnan(found[1, 3])
    assert np.all(np.diag(found) == 0)


def test_umap_keeps_groups_apart() -> None:
    pytest.importorskip("umap")
    groups = np.concatenate([RNG.normal(size=(15, 4)), RNG.normal(size=(15, 4)) + 50])
    points = umap_points(cdist(groups, groups), 0)
    assert points is not None
    assert points.shape == (30, 2)
    inside = max(cdist(part, part).max() for part in (points[:15], points[15:]))
    assert np.linalg.norm(points[:15].mean(0) - points[15:].mean(0)) > inside


def test_umap_wants_more_than_three_points() -> None:
    assert umap_points(np.zeros((3, 3)), 0) is None
