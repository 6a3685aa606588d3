"""One model of a population, with the calibration samples for its compressed versions."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from leanfront.core.compressors import Compressor, Structure
from leanfront.core.compressors.statistics.batch_norm import reestimate
from leanfront.core.compressors.statistics.calibration import Calibration
from leanfront.core.search.samplers import derived_seed
from leanfront.core.targets import Target


@dataclass(frozen=True)
class Member:
    """One model of a population.

    Args:
        base: the audited target.
        structure: structure of its model.
        population: ``recalibrated`` or ``trained``; ``""`` for the target's own model alone.
        index: index in the population; None for the target's own model.
        first_seed: seed of the population; the seed of a trained member is this plus its index.
        samples: number of calibration samples.
        device: device on which models are made and run.
    """

    base: Target
    structure: Structure
    population: str = ""
    index: int | None = None
    first_seed: int = 0
    samples: int = 512
    device: str = "cpu"

    @property
    def seed(self) -> int:
        """Seed of this member."""
        return self.first_seed + (self.index or 0)

    @cached_property
    def target(self) -> Target:
        """The base target with this member's model and calibration samples."""
        if self.population == "trained":
            model = self.base.retrained(self.seed)
            return self.base.recalibrated(torch.arange(len(self.base.calibration)), model)
        if self.population == "recalibrated":
            return self._recalibrated()
        return self.base

    @cached_property
    def compressor(self) -> Compressor:
        """Compressor of this member's model."""
        return Compressor(self.target, device=self.device, structure=self.structure, samples=self.samples)

    def _recalibrated(self) -> Target:
        positions = self._bootstrap()
        # Otherwise the dense model would be the same in all members, and there would be no noise to compare with.
        model = copy.deepcopy(self.base.model)
        sampled = self.base.recalibrated(positions)
        reestimate(model, Calibration(sampled, self.samples).batches)
        return self.base.recalibrated(positions, model)

    def _bootstrap(self) -> Tensor:
        """Draw positions in the calibration split with replacement."""
        count = len(self.base.calibration)
        generator = torch.Generator().manual_seed(derived_seed(self.first_seed, self.index or 0))
        return torch.randint(count, (count,), generator=generator)
