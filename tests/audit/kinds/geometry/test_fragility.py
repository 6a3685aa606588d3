"""Robust and fragile samples of margins written down."""

from __future__ import annotations

import numpy as np
import pytest

from leanfront.core.audit.kinds.geometry.fragility import fragility
from leanfront.errors import UsageError


def test_samples_are_told_apart_and_ranked_by_the_mean_drop() -> None:
    #                  robust robust fragile fragile neither wrong
    dense = np.array([2.0, 2.0, 1.0, 3.0, 1.0, -1.0])
    pruned = np.array(
        [
            [1.0, 1.9, -1.0, -4.0, 1.0, -1.0],
            [1.0, 1.9, 0.5, 1.0, 1.0, -1.0],
            [1.0, 1.9, 0.0, 0.0, -9.0, -1.0],
            [1.0, 1.9, 0.5, 1.0, 1.0, -1.0],
        ]
    )
    found = fragility(dense, pruned)
    assert found.robust == (1, 0)
    assert found.fragile == (3, 2)
    np.testing.assert_allclose(found.drop, [1, 0.1, 1, 3.5, 2.5, 0])
    np.testing.assert_allclose(found.lost, [0, 0, 0.5, 0.5, 0.25, 1])


def test_a_margin_that_is_no_number_is_lost() -> None:
    found = fragility([1.0, 1.0], [[np.nan, 1.0]])
    assert found.robust == (1,)
    assert found.fragile == (0,)


def test_the_dense_model_may_be_wrong_where_all_pruned_ones_are_right() -> None:
    assert fragility([-1.0], [[1.0], [2.0]]).robust == (0,)


@pytest.mark.parametrize("pruned", [np.zeros((0, 2)), np.zeros((2, 3)), np.zeros(2)])
def test_shapes_that_do_not_fit_are_refused(pruned: np.ndarray) -> None:
    with pytest.raises(UsageError, match="margins"):
        fragility([1.0, 2.0], pruned)
