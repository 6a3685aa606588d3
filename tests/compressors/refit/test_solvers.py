"""Solvers against least squares, explicit conditional solutions, and brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from leanfront.core.compressors import quantise_weight
from leanfront.core.compressors.refit import solvers
from leanfront.core.compressors.refit.solution import solve
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.moments import collect
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.targets import Target

COUNT, ROWS = 2, 5


def inputs(width: int, samples: int = 400, seed: int = 0) -> Tensor:
    """Correlated inputs of unequal sizes, (count, samples, width) float64."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(COUNT, samples, width, dtype=torch.float64, generator=generator)
    mixing = torch.randn(COUNT, width, width, dtype=torch.float64, generator=generator) / width**0.5
    sizes = torch.rand(COUNT, 1, width, dtype=torch.float64, generator=generator) + 0.1
    return mixed @ (mixing + 0.5 * torch.eye(width, dtype=torch.float64)) * sizes


def gram(data: Tensor) -> Tensor:
    return data.transpose(1, 2) @ data / data.shape[1]


def weights(width: int, rows: int = ROWS, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(COUNT, rows, width, dtype=torch.float64, generator=generator)


def identity(width: int) -> Tensor:
    return torch.eye(width, dtype=torch.float64).expand(COUNT, -1, -1).contiguous()


def steps(weight: Tensor, limits: tuple[int, int]) -> Tensor:
    """Scale of each row under which its largest weight is just representable."""
    return weight.abs().amax(2) / limits[1]


def plain(weight: Tensor, scale: Tensor, limits: tuple[int, int]) -> Tensor:
    return (weight / scale[..., None]).round().clamp(*limits)


# Least squares.


def test_damping_adds_a_share_of_the_mean_variance() -> None:
    moments = gram(inputs(6))
    moments[1] = 0
    damped = linear_algebra.damp(moments)
    expected = moments[0] + linear_algebra.RIDGE * moments[0].trace() / 6 * torch.eye(6)
    assert torch.allclose(damped[0], expected)
    assert torch.equal(damped[1], torch.eye(6, dtype=torch.float64))


def test_damped_moments_of_few_samples_can_be_solved() -> None:
    few = gram(inputs(40, samples=3)).float()
    few[:, 5] = few[:, :, 5] = 0  # an input that is always zero
    assert torch.linalg.matrix_rank(few[0]) <= 3
    assert torch.isfinite(solvers.inverse_factor(linear_algebra.damp(few))).all()


def test_restriction_takes_rows_and_columns() -> None:
    moments = gram(inputs(7))
    kept = torch.tensor([[0, 2, 3], [6, 1, 5]])
    found = solvers.restrict(moments, kept)
    for block in range(COUNT):
        assert torch.equal(found[block], moments[block][kept[block]][:, kept[block]])


def test_refitting_is_least_squares_on_the_kept_inputs() -> None:
    data, weight = inputs(12), weights(12)
    kept = torch.stack([torch.randperm(12)[:7].sort().values for _ in range(COUNT)])
    found = solvers.refit(weight, gram(data), kept)
    assert found.shape == (COUNT, ROWS, 7)
    for block in range(COUNT):
        columns = data[block][:, kept[block]]
        expected = torch.linalg.lstsq(columns, data[block] @ weight[block].T).solution.T
        assert torch.allclose(found[block], expected, atol=1e-9)


def test_refitting_on_all_inputs_changes_nothing() -> None:
    weight = weights(9)
    kept = torch.arange(9).expand(COUNT, -1)
    assert torch.allclose(solvers.refit(weight, gram(inputs(9)), kept), weight)


def test_regression_is_least_squares_on_other_inputs() -> None:
    # What a cut layer reads is not what the dense one read.
    data, other, weight = inputs(8), inputs(6, seed=3) + inputs(8)[..., :6], weights(8)
    outputs = data @ weight.transpose(1, 2)
    found = solvers.regress(outputs.transpose(1, 2) @ other / other.shape[1], gram(other))
    for block in range(COUNT):
        expected = torch.linalg.lstsq(other[block], outputs[block]).solution.T
        assert torch.allclose(found[block], expected, atol=1e-9)


def test_the_error_is_that_of_the_outputs() -> None:
    data, difference = inputs(8), weights(8)
    expected = (data @ difference.transpose(1, 2)).square().mean(1)
    assert torch.allclose(solvers.error(difference, gram(data)), expected)


def test_the_factor_is_upper_and_its_square_the_inverse() -> None:
    moments = gram(inputs(10))
    factor = solvers.inverse_factor(moments)
    assert torch.equal(factor, factor.triu())
    assert (factor.diagonal(dim1=1, dim2=2) > 0).all()
    assert torch.allclose(factor.transpose(1, 2) @ factor, torch.linalg.inv(moments))


# Rounding.


def sequential(
    weight: Tensor, moments: Tensor, scale: Tensor | None, limits: tuple[int, int], mask: Tensor | None
) -> Tensor:
    """Column by column, the columns behind solved anew for what the columns before became: no factor, no blocks."""
    found = torch.empty_like(weight)
    width = weight.shape[2]
    for block in range(len(weight)):
        g = moments[block]
        done = torch.empty(weight.shape[1], 0, dtype=weight.dtype)
        for column in range(width):
            rest = weight[block][:, column:]
            if column:
                lost = weight[block][:, :column] - done
                rest = rest + torch.linalg.solve(g[column:, column:], g[column:, :column] @ lost.T).T
            value = rest[:, 0]
            code = value if scale is None else (value / scale[block]).round().clamp(*limits)
            if mask is not None:
                code = code * mask[block][:, column]
            found[block][:, column] = code
            done = torch.cat([done, (code if scale is None else code * scale[block])[:, None]], 1)
    return found


@pytest.mark.parametrize("width", [1, 7, solvers.BLOCK, solvers.BLOCK + 1, 2 * solvers.BLOCK + 5])
@pytest.mark.parametrize("limits", [(-2, 1), (-8, 7), (-128, 127)])
@pytest.mark.parametrize("masked", [False, True])
def test_rounding_equals_solving_the_columns_behind_anew(
    width: int, limits: tuple[int, int], masked: bool
) -> None:
    weight, moments = weights(width), gram(inputs(width))
    scale = steps(weight, limits)
    mask = torch.rand(weight.shape) < 0.6 if masked else None
    before = weight.clone()
    found = solvers.round_columns(weight, solvers.inverse_factor(moments), scale, limits, mask)
    assert torch.equal(found, sequential(weight, moments, scale, limits, mask))
    assert torch.equal(weight, before)
    assert found.min() >= limits[0]
    assert found.max() <= limits[1]


@pytest.mark.parametrize("width", [7, solvers.BLOCK + 9])
def test_zeroing_equals_solving_the_columns_behind_anew(width: int) -> None:
    weight, moments = weights(width), gram(inputs(width))
    mask = torch.rand(weight.shape) < 0.5
    found = solvers.round_columns(weight, solvers.inverse_factor(moments), None, (0, 0), mask)
    assert torch.allclose(found, sequential(weight, moments, None, (0, 0), mask), atol=1e-8)
    assert not found[~mask].any()


def test_rounding_uncorrelated_inputs_is_plain_rounding() -> None:
    weight, limits = weights(60), (-8, 7)
    scale = steps(weight, limits)
    found = solvers.round_columns(weight, solvers.inverse_factor(3 * identity(60)), scale, limits)
    assert torch.equal(found, plain(weight, scale, limits))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_rounding_beats_plain_rounding_on_correlated_inputs(bits: int, seed: int) -> None:
    limits = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    weight = weights(70, rows=16, seed=seed).float()
    moments = linear_algebra.damp(gram(inputs(70, seed=seed + 10)).float())
    scale = steps(weight, limits) * (0.5 if bits == 2 else 1)
    found = solvers.round_columns(weight, solvers.inverse_factor(moments), scale, limits)
    ours = solvers.error(weight - found * scale[..., None], moments).sum()
    theirs = solvers.error(weight - plain(weight, scale, limits) * scale[..., None], moments).sum()
    assert ours < theirs


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_polishing_ends_where_no_single_move_helps(bits: int) -> None:
    limits = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    width = solvers.BLOCK + 7
    weight, moments = weights(width), gram(inputs(width))
    scale = steps(weight, limits)
    codes = plain(weight, scale, limits)
    start = codes.clone()

    def cost(integers: Tensor) -> Tensor:
        return solvers.error(weight - integers * scale[..., None], moments)

    before = cost(codes)
    first = solvers.polish(start, weight, moments, scale, limits)
    assert torch.equal(start, codes)
    assert not torch.equal(first, codes)
    for _ in range(200):
        polished = solvers.polish(codes, weight, moments, scale, limits)
        after = cost(polished)
        assert (after <= before * (1 + 1e-12)).all()
        if torch.equal(polished, codes):
            break
        codes, before = polished, after
    else:
        pytest.fail("polishing does not come to an end")
    assert codes.min() >= limits[0]
    assert codes.max() <= limits[1]
    for column, move in itertools.product(range(width), (-1, 1)):
        moved = codes.clone()
        moved[:, :, column] = (moved[:, :, column] + move).clamp(*limits)
        assert (cost(moved) >= before * (1 - 1e-9)).all()


def test_a_polishing_pass_is_coordinate_descent() -> None:
    width, limits = solvers.BLOCK + 6, (-4, 3)
    weight, moments = weights(width), gram(inputs(width))
    scale = steps(weight, limits)
    codes = plain(weight, scale, limits)
    expected = codes.clone()
    for block, row, column in itertools.product(range(COUNT), range(ROWS), range(width)):
        # The error is a parabola of one weight: its lowest point, rounded, is the best integer.
        wrong = weight[block, row] - expected[block, row] * scale[block, row]
        wrong[column] = weight[block, row, column]
        others = wrong.clone()
        others[column] = 0
        best = wrong[column] + moments[block, column] @ others / moments[block, column, column]
        expected[block, row, column] = (best / scale[block, row]).round().clamp(*limits)
    assert torch.equal(solvers.polish(codes, weight, moments, scale, limits), expected)


def test_polished_rounding_comes_close_to_the_best_of_all() -> None:
    width, limits = 6, (-2, 1)
    weight, moments = weights(width, rows=40), gram(inputs(width))
    scale = steps(weight, limits) / 2
    every = torch.tensor(list(itertools.product(range(-2, 2), repeat=width)), dtype=torch.float64)
    wrong = weight[:, :, None] - every * scale[..., None, None]
    least = solvers.error(wrong.reshape(COUNT, -1, width), moments).reshape(COUNT, 40, -1).amin(2)

    def share(codes: Tensor) -> float:
        """Of the rows that are as good as they can be."""
        found = solvers.error(weight - codes * scale[..., None], moments)
        assert (found >= least * (1 - 1e-12)).all()
        return float((found <= least * (1 + 1e-12)).double().mean())

    rounded = solvers.round_columns(weight, solvers.inverse_factor(moments), scale, limits)
    polished = solvers.polish(rounded, weight, moments, scale, limits)
    shares = [share(codes) for codes in (plain(weight, scale, limits), rounded, polished)]
    assert shares[0] < shares[1] < shares[2]


# Sparsity.


@pytest.mark.parametrize("kept", [0, 1, 37, 300, COUNT * ROWS * 60])
def test_exactly_so_many_weights_stay(kept: int) -> None:
    weight, moments = weights(60), gram(inputs(60))
    mask = solvers.sparsify_columns(weight, solvers.inverse_factor(moments), kept)
    assert mask.dtype == torch.bool
    assert mask.shape == weight.shape
    assert mask.sum() == kept


def test_the_largest_stay_where_inputs_are_uncorrelated() -> None:
    weight = weights(2 * solvers.BLOCK + 3)
    mask = solvers.sparsify_columns(weight, solvers.inverse_factor(identity(weight.shape[2])), 333)
    assert torch.equal(mask, weight.abs() >= weight.abs().flatten().sort(descending=True).values[332])


def test_those_of_least_saliency_go_within_a_block() -> None:
    # w^2 / [G^-1]_jj, the error a weight's loss leaves once all behind it made up for it (OBS), column by column.
    weight, moments = weights(20), gram(inputs(20))
    mask = solvers.sparsify_columns(weight, solvers.inverse_factor(moments), 90)
    losses = torch.empty_like(weight)
    for column in range(20):
        behind = torch.linalg.inv(moments[:, column:, column:])[:, 0, 0]
        losses[:, :, column] = weight[:, :, column].square() / behind[:, None]
    assert torch.equal(mask, losses >= losses.flatten().sort(descending=True).values[89])


def test_a_block_keeps_its_share_of_the_largest_losses() -> None:
    width, kept = 2 * solvers.BLOCK + 3, 500
    weight, factor = weights(width), solvers.inverse_factor(gram(inputs(width)))
    mask = solvers.sparsify_columns(weight, factor, kept)
    losses = (weight / factor.diagonal(dim1=1, dim2=2)[:, None]).square()
    largest = losses >= losses.flatten().sort(descending=True).values[kept - 1]
    shares = [part.sum() for part in largest.split(solvers.BLOCK, dim=2)]
    assert [part.sum() for part in mask.split(solvers.BLOCK, dim=2)] == shares
    assert not torch.equal(mask, largest)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_sparsifying_beats_the_largest_weights(share: float) -> None:
    weight, moments = weights(100, rows=16), gram(inputs(100))
    factor = solvers.inverse_factor(moments)
    kept = round(weight.numel() * share)
    ours = solvers.sparsify_columns(weight, factor, kept)
    largest = weight.abs() >= weight.abs().flatten().sort(descending=True).values[kept - 1]

    def cost(mask: Tensor) -> Tensor:
        found = solvers.round_columns(weight, factor, None, (0, 0), mask)
        return solvers.error(weight - found, moments).sum()

    assert cost(ours) < cost(largest)


def test_two_of_four_stay_and_the_rest_is_left() -> None:
    weight, moments = weights(22), gram(inputs(22))
    mask = solvers.sparsify_quads(weight, solvers.inverse_factor(moments), 20)
    assert (mask[..., :20].reshape(COUNT, ROWS, 5, 4).sum(3) == 2).all()
    assert mask[..., 20:].all()
    even = solvers.sparsify_quads(weight, solvers.inverse_factor(identity(22)), 20)
    ranks = weight[..., :20].abs().reshape(COUNT, ROWS, 5, 4).argsort(-1, descending=True).argsort(-1)
    assert torch.equal(even[..., :20], (ranks < 2).reshape(COUNT, ROWS, 20))


def test_quads_choose_under_what_the_quads_before_passed_on() -> None:
    weight, moments = weights(12), gram(inputs(12))
    mask = solvers.sparsify_quads(weight, solvers.inverse_factor(moments), 12)
    for start in range(0, 12, 4):
        # What the columns of this quad are worth once those before it are decided.
        before = mask.clone()
        before[:, :, start:] = True
        now = sequential(weight, moments, None, (0, 0), before)
        losses = torch.empty(COUNT, ROWS, 4, dtype=torch.float64)
        for column in range(4):
            behind = torch.linalg.inv(moments[:, start + column :, start + column :])[:, 0, 0]
            losses[..., column] = now[..., start + column].square() / behind[:, None]
        expected = losses.argsort(-1, descending=True).argsort(-1) < 2
        assert torch.equal(mask[..., start : start + 4], expected)


# Whole solutions.


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("samples", [30, 400])
def test_no_row_of_a_random_layer_is_worse_than_plainly_rounded(bits: int, samples: int) -> None:
    weight = weights(70, rows=8).float()
    moments = linear_algebra.damp(gram(inputs(70, samples=samples)).float())
    check(weight, moments, bits)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_row_of_a_real_layer_is_worse_than_plainly_rounded(tiny: Target, bits: int) -> None:
    structure = derive(tiny.model, tiny.example_input)
    images, _ = tiny.calibration.tensors()
    found = collect(tiny.model, structure, [images], len(images))
    assert sorted(found) == ["conv1", "conv2", "conv3", "linear"]
    better = 0
    for name, layer in found.items():
        for centred in (False, True):
            [weight] = layer.blocks.split(tiny.model.get_submodule(name).weight.detach())
            [moments] = layer.of(centred=centred)
            better += check(weight, linear_algebra.damp(moments), bits)
    assert better > 20


def check(weight: Tensor, moments: Tensor, bits: int) -> int:
    """Rows that are better than plainly rounded; none may be worse."""
    flat = quantise_weight(weight.reshape(-1, weight.shape[2]), bits).dequantise().reshape(weight.shape)
    found = solve(weight, moments, bits=bits)
    assert found.codes is not None
    assert found.scale is not None
    assert torch.equal(found.weight, found.codes * found.scale[..., None])
    ours, theirs = (solvers.error(weight - other, moments) for other in (found.weight, flat))
    assert (ours <= theirs * (1 + 1e-5)).all()
    return int((ours < theirs).sum())
