"""Scores of weights, channels and units: the functions of `criteria.CRITERIA` and their users."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from leanfront.core.compressors.pruning.criteria import CRITERIA
from leanfront.core.compressors.pruning.saliency import Saliency
from leanfront.core.compressors.statistics.linear_algebra import damp, removal_losses
from leanfront.core.compressors.structure.structure import ChannelGroup


def summed(scores: Tensor) -> Tensor:
    """Sum over the weights of a channel."""
    return scores.sum(1)


def random(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """Uniform draws."""
    return torch.rand(saliency.weight(layer).shape, generator=generator)


def l1(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """|w|."""
    return saliency.weight(layer).abs()


def l2(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """w^2."""
    return saliency.weight(layer).square()


def norm_scale(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """|gamma| of the batch norm behind the layer, spread evenly over the channel's weights.

    A layer whose output no batch norm reads directly falls back to its mean |w|, so that every layer has a
    score.
    """
    weight = saliency.weight(layer)
    scale = _gamma(saliency, layer)
    per_channel = weight.abs().flatten(1).mean(1) if scale is None else scale
    magnitude = weight.abs().flatten(1)
    share = magnitude / magnitude.sum(1, keepdim=True).clamp_min(1e-20)
    return (share * per_channel[:, None]).reshape(weight.shape)


def _gamma(saliency: Saliency, layer: str) -> Tensor | None:
    name = saliency.norms.get(layer)
    gamma = None if name is None else saliency.modules[name].weight
    return gamma.detach().float().cpu().abs() if isinstance(gamma, Tensor) else None


def lamp(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """w^2 over the sum of all squares not smaller than it (Lee et al. 2021, eq. 3)."""
    squares = saliency.weight(layer).double().square()
    ordered, positions = squares.flatten().sort()
    tails = ordered.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(ordered)
    scores[positions] = ordered / tails.clamp_min(1e-300)
    return scores.reshape(squares.shape).float()


def taylor(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """w times its mean gradient."""
    return saliency.weight(layer) * saliency.gradient(layer)


def fisher(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """1/2 F w^2."""
    return 0.5 * saliency.weight(layer).square() * saliency.fisher(layer)


def reconstruction(saliency: Saliency, layer: str, generator: torch.Generator) -> Tensor:
    """w^2 / [G^-1]_jj, the error of removing one weight and refitting all others (OBS)."""
    weight = saliency.weight(layer)
    moments = saliency.moments.get(layer)
    if moments is None:
        return weight.abs()
    split = moments.blocks.split(weight)
    grams = moments.of(centred=saliency.centred[layer])
    scores = [removal_losses(rows, damp(gram)) for rows, gram in zip(split, grams, strict=True)]
    return moments.blocks.join(scores, weight)


def removal_scores(saliency: Saliency, group: ChannelGroup) -> Tensor | None:
    """Position in the order of removal, higher for units that are removed later."""
    found = saliency.removal(group)
    return None if found is None else found.scores


def norm(scores: Tensor) -> Tensor:
    """Square root of the sum over the weights of a channel."""
    return scores.sum(1).sqrt()


def squared_sum(scores: Tensor) -> Tensor:
    """Square of the sum over the weights of a channel."""
    return scores.sum(1).square()


def channel_scores(saliency: Saliency, group: ChannelGroup, criterion: str, seed: int = 0) -> Tensor:
    """Return the score of every unit of a group, shape (units,), float64; the highest are kept."""
    rule = CRITERIA[criterion]
    judged = rule.units(saliency, group)
    if judged is not None:
        return judged
    total = torch.zeros(group.units, dtype=torch.float64)
    generator = _generator(seed, group.name)
    for member in group.members:
        if member.side != "out" or not saliency.structure.parts[member.part].is_layer:
            continue
        elements = rule.elements(saliency, member.part, generator)
        scores = rule.reduction(elements.reshape(elements.shape[0], -1)).double()
        per_unit = torch.stack([scores[list(rows)].sum() for rows in member.indices])
        total += per_unit / per_unit.mean().clamp_min(1e-300)
    return total


def weight_scores(saliency: Saliency, layer: str, criterion: str, seed: int = 0) -> Tensor:
    """Return the score of every weight of a layer, in the weight's own shape; the highest are kept."""
    part = saliency.structure.parts[layer]
    elements = CRITERIA[criterion].elements(saliency, layer, _generator(seed, layer)).abs()
    return elements.transpose(0, 1) if part.transposed else elements


def kept_units(scores: Tensor, kept: int) -> tuple[int, ...]:
    """Return the indices of the `kept` highest scores, ascending; among equal scores the lower index stays."""
    order = torch.argsort(scores, descending=True, stable=True)
    return tuple(sorted(order[:kept].tolist()))


def _generator(seed: int, subject: str) -> torch.Generator:
    """Return a generator for one group or layer: with a common seed, equal layers would lose equal channels."""
    digest = hashlib.sha256(f"{seed}:{subject}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
