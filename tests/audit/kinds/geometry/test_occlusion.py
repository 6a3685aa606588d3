"""Occlusion of models whose answer is known to depend on certain pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from leanfront.core.audit.kinds.geometry.occlusion import occlusion, patch_of
from leanfront.errors import UsageError

FILL = torch.zeros(2)


def test_a_model_that_looks_at_one_patch_is_seen_through() -> None:
    inputs = torch.rand(3, 2, 8, 8) + 1

    def measure(images: Tensor) -> Tensor:
        patch = images[:, :, 2:4, 4:6].sum((1, 2, 3))
        return torch.stack([patch, -3 * patch], dim=1)

    found = occlusion(measure, inputs, 2, FILL)
    assert found.shape == (3, 2, 4, 4)
    expected = torch.zeros(3, 2, 4, 4)
    expected[:, 0, 1, 2] = -inputs[:, :, 2:4, 4:6].sum((1, 2, 3))
    expected[:, 1] = -3 * expected[:, 0]
    torch.testing.assert_close(found, expected)


def test_a_linear_measure_is_spread_over_its_patches() -> None:
    # 7 x 5 pixels by 3: the last row and column of patches are smaller.
    inputs, weights, fill = torch.rand(2, 2, 7, 5), torch.randn(2, 7, 5), torch.tensor([0.3, -0.2])
    found = occlusion(lambda x: (x * weights).sum((1, 2, 3))[:, None], inputs, 3, fill)
    assert found.shape == (2, 1, 3, 2)
    change = (fill[None, :, None, None] - inputs) * weights
    torch.testing.assert_close(found.sum((2, 3))[:, 0], change.sum((1, 2, 3)))
    torch.testing.assert_close(found[:, 0, 2, 1], change[:, :, 6:, 3:].sum((1, 2, 3)))


def test_inputs_are_left_alone() -> None:
    inputs = torch.rand(1, 2, 4, 4)
    before = inputs.clone()
    occlusion(lambda x: x.sum((1, 2, 3))[:, None], inputs, 2, FILL)
    assert torch.equal(inputs, before)


@pytest.mark.parametrize(("size", "patch"), [((8, 8), 2), ((32, 32), 4), ((224, 224), 28), ((4, 60), 8)])
def test_a_grid_has_eight_patches_of_two_pixels_or_more(size: tuple[int, int], patch: int) -> None:
    assert patch_of(*size) == patch


@pytest.mark.parametrize(("shape", "patch"), [((2, 2, 8), 2), ((2, 3, 8, 8), 2), ((2, 2, 8, 8), 0)])
def test_what_cannot_be_covered_is_refused(shape: tuple[int, ...], patch: int) -> None:
    with pytest.raises(UsageError, match="occlusion"):
        occlusion(lambda x: x, torch.ones(shape), patch, FILL)
