"""Noise is a sample's own and has the distribution it says."""

from __future__ import annotations

import torch
from scipy.stats import kstest

from leanfront.core.audit.kinds.robustness.noise import gaussian, uniform


def test_a_samples_noise_depends_on_its_seed_purpose_and_draw_alone() -> None:
    for make in (gaussian, uniform):
        together = make((3, 4, 4), [5, 9, 2], "a", 1)
        assert together.shape == (3, 3, 4, 4)
        assert together.dtype == torch.float32
        assert torch.equal(together[1:2], make((3, 4, 4), [9], "a", 1))
        assert torch.equal(together.flip(0), make((3, 4, 4), [2, 9, 5], "a", 1))
        others = (make((3, 4, 4), [5], "b", 1), make((3, 4, 4), [5], "a", 0), make((3, 4, 4), [6], "a", 1))
        assert all(not torch.equal(together[:1], other) for other in others)


def test_noise_has_its_distribution() -> None:
    normal = gaussian((10, 10), range(100), "test").flatten().numpy()
    assert kstest(normal, "norm").pvalue > 0.01
    flat = uniform((10, 10), range(100), "test").flatten().numpy()
    assert kstest(flat, "uniform").pvalue > 0.01
    assert 0 <= flat.min() < flat.max() < 1
