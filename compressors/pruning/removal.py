"""Order in which a group's units are removed, by the error left after a refit of their consumers.

Each step removes the unit whose removal leaves the least error after the least-squares refit of every consumer:
W_B (H_BB)^-1 W_B^T with H = G^-1 and B the unit's columns (optimal brain surgeon for blocks of weights; Hassibi &
Stork 1993, Kurtic et al. 2022), weighted by the Fisher diagonal of the consumer's outputs. Weights and H are
updated after each removal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.moments import LayerMoments
from leanfront.core.compressors.structure.structure import ChannelGroup, Structure

STEPS = 96
"""Maximum number of steps: in larger groups each step removes several units."""


@dataclass(frozen=True)
class Removal:
    """Order of removal of a group's units, and its losses.

    Args:
        order: units in the order of their removal; the last one stays.
        losses: predicted loss after each removal, in the same order: half the Fisher-weighted squared error of
            the consumers' outputs, in nats per image.
    """

    order: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def scores(self) -> Tensor:
        """Score of every unit, (units,) float64: higher for units that are removed later."""
        scores = torch.empty(len(self.order), dtype=torch.float64)
        scores[list(self.order)] = torch.arange(len(self.order), dtype=torch.float64)
        return scores


@dataclass
class _Consumer:
    """One block of a consumer: rows, inverse moments, and the columns of every unit (padded with -1)."""

    weight: Tensor
    inverse: Tensor
    columns: Tensor
    fisher: Tensor

    def losses(self, alive: Tensor) -> Tensor:
        """Return the error that the removal of each unit leaves, (alive,)."""
        columns = self.columns[alive]
        valid = columns >= 0
        safe = columns.clamp_min(0)
        inner = self.inverse[safe[:, :, None], safe[:, None, :]]
        eye = torch.eye(columns.shape[1])
        inner = torch.where(valid[:, :, None] & valid[:, None, :], inner, eye)
        rows = self.weight[:, safe].permute(1, 2, 0) * valid[:, :, None]  # (alive, columns, rows)
        solved: Tensor = torch.linalg.solve(inner, rows)
        return ((rows * solved).sum(1) * self.fisher).sum(-1)

    def remove(self, units: Tensor) -> None:
        """Remove units and refit the remaining weights."""
        columns = self.columns[units].flatten()
        columns = columns[columns >= 0]
        if not len(columns):
            return
        spread = torch.linalg.solve(self.inverse[columns[:, None], columns], self.inverse[columns])
        self.weight.addmm_(self.weight[:, columns], spread, alpha=-1)
        self.inverse.addmm_(self.inverse[:, columns], spread, alpha=-1)
        self.weight[:, columns] = 0
        self.inverse[columns] = 0
        self.inverse[:, columns] = 0
        self.inverse[columns, columns] = 1


def removal(
    group: ChannelGroup,
    structure: Structure,
    weights: Mapping[str, Tensor],
    moments: Mapping[str, LayerMoments],
    centred: Mapping[str, bool],
) -> Removal | None:
    """Return the order in which a group's units are removed, or None if no consumer was measured.

    Args:
        group: the channel group.
        structure: structure of the model.
        weights: layer -> dense weight, output channels first, float32 on the CPU.
        moments: measured layer -> moments.
        centred: layer -> whether a norm or bias behind it absorbs offsets.
    """
    consumers = _consumers(group, structure, weights, moments, centred)
    if not consumers:
        return None
    alive = torch.arange(group.units)
    order: list[int] = []
    losses: list[float] = []
    total = 0.0
    step = max(1, -(-group.units // STEPS))
    while len(alive) > 1:
        each = torch.stack([consumer.losses(alive) for consumer in consumers]).sum(0).nan_to_num(0.0)
        goes = each.argsort(stable=True)[: min(step, len(alive) - 1)]
        for place in goes.tolist():
            total += 0.5 * max(0.0, float(each[place]))
            order.append(int(alive[place]))
            losses.append(total)
        for consumer in consumers:
            consumer.remove(alive[goes])
        stays = torch.ones(len(alive), dtype=torch.bool)
        stays[goes] = False
        alive = alive[stays]
    order.append(int(alive[0]))
    losses.append(float("inf"))
    return Removal(tuple(order), tuple(losses))


def _consumers(
    group: ChannelGroup,
    structure: Structure,
    weights: Mapping[str, Tensor],
    moments: Mapping[str, LayerMoments],
    centred: Mapping[str, bool],
) -> list[_Consumer]:
    found = []
    for member in group.members:
        part = structure.parts.get(member.part)
        # With a unit, a depthwise layer loses only its own output, which is cut as well.
        if member.side != "in" or part is None or part.kind not in ("conv", "linear"):
            continue
        measured = moments.get(member.part)
        if measured is None:
            continue
        blocks = measured.blocks
        fisher = measured.fisher.reshape(blocks.groups, -1)
        split = blocks.split(weights[member.part])
        for run, (rows, gram) in enumerate(
            zip(split, measured.of(centred=centred[member.part]), strict=True)
        ):
            inverse = linear_algebra.inverse(linear_algebra.damp(gram))
            for inside in range(blocks.groups):
                columns = _columns(member.indices, blocks.inputs, blocks.runs, blocks.kernel, inside, run)
                if bool((columns >= 0).any()):
                    found.append(
                        _Consumer(rows[inside].clone(), inverse[inside].clone(), columns, fisher[inside])
                    )
    return found


def _columns(
    indices: tuple[tuple[int, ...], ...],
    inputs: int,
    runs: tuple[int, ...],
    kernel: int,
    group: int,
    run: int,
) -> Tensor:
    """Return the columns of every unit within a block, (units, columns), padded with -1."""
    first = group * inputs + sum(runs[:run])
    rows = [
        [(c - first) * kernel + k for c in unit if first <= c < first + runs[run] for k in range(kernel)]
        for unit in indices
    ]
    width = max(len(row) for row in rows)
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows], dtype=torch.long).reshape(
        len(rows), width
    )
