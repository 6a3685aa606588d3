"""Which channels to keep: those whose loss the consumers cannot make up for.

Units are removed one after another, each time the one whose removal, after the least-squares refit of every
consumer, leaves the least error: W_B (H_BB)^-1 W_B^T with H = G^-1 and B the unit's columns (optimal brain
surgeon for blocks of weights; Hassibi & Stork 1993, Kurtic et al. 2022), weighted by the Fisher diagonal of
the consumer's outputs. Weights and H are updated after each removal.
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
"""Removals at most: units of larger groups go several at a time."""


@dataclass(frozen=True)
class Removal:
    """How a group's units go.

    Args:
        order: units, the first to go first; the last one stays.
        losses: predicted loss once the units up to there are gone, same order; the Fisher-weighted squared
            error of the consumers' outputs, halved (nats an image).
    """

    order: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def scores(self) -> Tensor:
        """Score of every unit, (units,) float64: the later it goes, the higher."""
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
        """Error that the loss of each unit leaves, (alive,)."""
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
        """Take units out: the rest makes up for them as well as it can."""
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
    """The order in which a group's units go, or None when no consumer was measured.

    Args:
        group: to cut.
        structure: the model's.
        weights: layer -> dense weight, output channels first, float32 on the CPU.
        moments: of the measured layers.
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
        # What a depthwise layer loses with a unit is its own output, which goes too.
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
    """Columns of every unit within a block, (units, columns), padded with -1."""
    first = group * inputs + sum(runs[:run])
    rows = [
        [(c - first) * kernel + k for c in unit if first <= c < first + runs[run] for k in range(kernel)]
        for unit in indices
    ]
    width = max(len(row) for row in rows)
    return torch.tensor([row + [-1] * (width - len(row)) for row in rows], dtype=torch.long).reshape(
        len(rows), width
    )
