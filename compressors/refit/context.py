"""Shared state of compressing one target, each item computed once: calibration, moments, the bank, refits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from leanfront.core.compressors.derived_structure import structure_of
from leanfront.core.compressors.pruning.saliency import Saliency
from leanfront.core.compressors.refit.bank import Bank
from leanfront.core.compressors.refit.sequential import ELEMENTS, FEWEST_IMAGES, IMAGES, Sequential
from leanfront.core.compressors.statistics.batch_norm import anchor, norm_buffers, reestimate, statistics
from leanfront.core.compressors.statistics.cache import BankCache
from leanfront.core.compressors.statistics.calibration import SAMPLES, Calibration
from leanfront.core.compressors.statistics.derived import DerivedStatistics
from leanfront.core.compressors.structure.folding import folds
from leanfront.core.compressors.structure.norms import is_affine
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import with_innermost


class CompressionContext:
    """Statistics and solvers of one target, each computed when first used.

    Args:
        target: the dense model and its calibration split; never changed.
        structure: structure of the model, if already known; derived by default.
        device: device on which models run.
        samples: number of calibration samples.
        cache: cache of the layer bank and of shared statistics on disk; by default in the user's cache folder.
    """

    def __init__(
        self,
        target: Target,
        *,
        structure: Structure | None = None,
        device: torch.device | str = "cpu",
        samples: int = SAMPLES,
        cache: BankCache | None = None,
    ) -> None:
        self.target = target
        self.device = torch.device(device)
        self.structure = structure or structure_of(target, cache=cache)
        self.calibration = Calibration(target, samples, self.device)
        self.shared = DerivedStatistics(target, self.calibration, cache)
        self.saliency = Saliency(target, self.structure, self.device, self.calibration, self.shared)
        self._cache = cache

    def dense(self) -> nn.Module:
        """Return a copy of the dense model, in eval mode on the device, in the memory format that it allows."""
        module = copy.deepcopy(self.target.model).to(self.device).eval()
        return with_innermost(module.requires_grad_(False), self.target.channels_last)

    @cached_property
    def bank(self) -> Bank:
        """The layer bank; its moments take one pass over the calibration samples."""
        moments = self.saliency.moments
        weights = {layer: self.saliency.weight(layer) for layer in moments}
        return Bank(self.structure, weights, moments, self.saliency.centred, self._cache or BankCache())

    @cached_property
    def sequential(self) -> Sequential:
        """Sequential refits; the outputs of the dense model are recorded in one pass."""
        inputs = self.calibration.spread(IMAGES, ELEMENTS, FEWEST_IMAGES)
        return Sequential(self.dense(), self.structure, self.bank, self.saliency.norms, inputs)

    @cached_property
    def foldable(self) -> dict[str, str]:
        """Layer -> batch norm that folds into it without changing the dense model's outputs."""
        parts, module = self.structure.parts, self.dense()
        norms = {
            layer: norm
            for layer, norm in self.saliency.norms.items()
            if not parts[layer].transposed
            and module.get_submodule(norm).running_mean is not None
            and is_affine(module.get_submodule(norm))
        }
        single = len(set(norms.values())) == len(norms)
        return norms if single and folds(module, norms, self.target.example_input.to(self.device)) else {}

    def reestimate(self, module: nn.Module, cuts: Callable[[nn.Module], None]) -> None:
        """Re-estimate the batch-norm statistics of a cut and rounded module, anchored to the dense model's own."""
        dense = statistics(module)
        if not dense:
            return
        sampled = copy.deepcopy(self._sampled)
        cuts(sampled)
        reestimate(module, self.calibration.batches)
        anchor(module, dense, statistics(sampled))

    @cached_property
    def _sampled(self) -> nn.Module:
        """The dense model with statistics of the calibration samples."""
        module = self.dense()

        def make() -> dict[str, Tensor]:
            reestimate(module, self.calibration.batches)
            return norm_buffers(module)

        buffers = norm_buffers(module)
        for name, value in self.shared.recall("norms", (), make).items():
            buffers[name].copy_(value)
        return module
