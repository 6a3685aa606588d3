"""What candidates add to a hypervolume, against the difference of two hypervolumes."""

from __future__ import annotations

import numpy as np
import pytest

from leanfront.core.objectives import hypervolume
from leanfront.core.search.improvement import Improvement


@pytest.mark.parametrize("costs", [1, 2, 3])
@pytest.mark.parametrize("members", [0, 1, 17])
def test_improvement_is_a_difference_of_hypervolumes(costs: int, members: int) -> None:
    draw = np.random.default_rng(costs)
    # Coarse values make ties, negative ones lie outside the reference.
    values = np.round(draw.normal(0.4, 0.4, members), 1)
    gains = np.round(draw.normal(0.8, 1.0, (members, costs)), 1)
    candidates = np.round(draw.normal(0.8, 1.0, (25, costs)), 1)
    cases = np.round(draw.normal(0.4, 0.5, (25, 3)), 1)
    found = Improvement(values, gains).of(cases, candidates)
    corner = np.zeros(1 + costs)
    front = -np.column_stack([values, gains])
    for row, case in np.ndindex(*cases.shape):
        added = np.vstack([front, -np.append(cases[row, case], candidates[row])])
        expected = hypervolume(added, corner) - hypervolume(front, corner)
        assert found[row, case] == pytest.approx(expected, abs=1e-9)
    assert found.max() > 0
