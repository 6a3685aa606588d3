"""Prediction of the losses of single choices, before anything is evaluated.

A change of a layer's output by e costs about 1/2 sum_o F_o E[e_o^2] nats per image, with F the Fisher diagonal of the
layer's outputs (second-order expansion of the loss around the trained model; K-FAC's independence of positions).
E[e_o^2] follows from the moments of the layer's input, so no model is run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from leanfront.core.compressors.pruning.saliency import Saliency
from leanfront.core.compressors.refit.bank import Bank, Choice
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.sensitivities import Sensitivities
from leanfront.core.compressors.structure.structure import Structure

SOLVED_WIDTHS = 2
"""Number of the smallest bit-widths that are solved; every further bit divides the squared error by four."""
RANGE = 8.0
"""Standard deviations that an activation's range spans."""
QUADS = 1.5
"""Loss of the pattern 2:4, relative to that of zeroing the best half of the weights."""


def sensitivities(
    bank: Bank,
    saliency: Saliency,
    *,
    bits: Sequence[int],
    sparsity: Sequence[float | str] = (),
    activation_bits: Sequence[int] = (),
) -> Sensitivities:
    """Predict the losses of the given choices for every group and measured layer.

    Args:
        bank: layer bank of the dense model.
        saliency: saliency of the dense model.
        bits: bit-widths of weights.
        sparsity: shares and patterns.
        activation_bits: bit-widths of inputs.
    """
    layers = list(bank.moments)
    return Sensitivities(
        channels=_channels(saliency, bank.structure),
        weights={layer: _weights(bank, layer, bits) for layer in layers},
        sparsity={layer: _sparsity(bank, saliency, layer, sparsity) for layer in layers} if sparsity else {},
        activations={layer: _activations(bank, saliency, layer, activation_bits) for layer in layers}
        if activation_bits
        else {},
    )


def _channels(saliency: Saliency, structure: Structure) -> dict[str, tuple[float, ...]]:
    found = {}
    for name, group in structure.groups.items():
        removal = saliency.removal(group)
        if removal is None:
            continue
        # With n of N kept, the first N - n of the order are removed.
        losses = [removal.losses[group.units - kept - 1] for kept in range(1, group.units)]
        found[name] = (*losses, 0.0)
    return found


def _weights(bank: Bank, layer: str, bits: Sequence[int]) -> dict[int, float]:
    fisher = bank.moments[layer].fisher
    narrow = sorted(width for width in bits if width <= 8)
    found = {width: 0.0 for width in bits if width > 8}
    for place, width in enumerate(narrow):
        if place < SOLVED_WIDTHS:
            errors = bank.error(layer, Choice(bits=width)).flatten()
            found[width] = 0.5 * float((fisher * errors).sum())
        else:
            last = narrow[place - 1]
            found[width] = found[last] * 4.0 ** (last - width)
    return found


def _sparsity(
    bank: Bank, saliency: Saliency, layer: str, wanted: Sequence[float | str]
) -> dict[float | str, float]:
    moments = bank.moments[layer]
    split = moments.blocks.split(saliency.weight(layer))
    fisher = moments.fisher.reshape(moments.blocks.groups, -1, 1)
    losses = []
    for rows, gram in zip(split, bank.gram(layer), strict=True):
        losses.append((linear_algebra.removal_losses(rows, gram) * fisher).flatten())
    total = torch.cat(losses).double().sort().values.cumsum(0)
    found: dict[float | str, float] = {}
    for choice in wanted:
        share = 0.5 if choice == "2:4" else float(choice)
        gone = min(len(total), round(len(total) * share))
        loss = 0.5 * float(total[gone - 1]) if gone else 0.0
        found[choice] = loss * QUADS if choice == "2:4" else loss
    return found


def _activations(bank: Bank, saliency: Saliency, layer: str, widths: Sequence[int]) -> dict[int, float]:
    moments = bank.moments[layer]
    split = moments.blocks.split(saliency.weight(layer))
    fisher = moments.fisher.reshape(moments.blocks.groups, -1)
    spread = _mean([gram.diagonal(dim1=1, dim2=2).mean() for gram in moments.of(centred=True)]).sqrt()
    power = sum((fisher * rows.square().sum(-1)).sum() for rows in split)
    assert isinstance(power, Tensor)
    # Uniform noise of one step over the square root of twelve on every input.
    return {width: 0.5 * float(power * (RANGE * spread / 2**width) ** 2 / 12) for width in widths}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()
