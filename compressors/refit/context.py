"""What compressing one target needs and what is derived of it once: copies, calibration, moments, the bank."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor, nn

from leanfront.core.compressors.pruning.saliency import Saliency
from leanfront.core.compressors.refit.bank import Bank
from leanfront.core.compressors.refit.sequential import ELEMENTS, FEWEST_IMAGES, IMAGES, Sequential
from leanfront.core.compressors.statistics.batch_norm import anchor, norm_buffers, reestimate, statistics
from leanfront.core.compressors.statistics.cache import BankCache
from leanfront.core.compressors.statistics.calibration import SAMPLES, Calibration
from leanfront.core.compressors.statistics.derived import DerivedStatistics
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.folding import folds
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.targets import Target


class CompressionContext:
    """Derived of a target when first asked for.

    Args:
        target: the dense model and its calibration split; never changed.
        structure: the model's, when it is known already.
        device: where models run.
        samples: calibration samples.
        cache: of the layer bank and of shared statistics on disk; the user's own by default.
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
        self.structure = structure or derive(target.model, target.example_input)
        self.calibration = Calibration(target, samples, self.device)
        self.shared = DerivedStatistics(target, self.calibration, cache)
        self.saliency = Saliency(target, self.structure, self.device, self.calibration, self.shared)
        self._cache = cache

    def dense(self) -> nn.Module:
        """A copy of the dense model, in eval mode on the device, images with channels innermost."""
        module = copy.deepcopy(self.target.model).to(self.device).eval()
        module.requires_grad_(False)
        # Convolutions run about a third faster so. Three-dimensional ones have a format of their own.
        if any(p.dim() == 5 for p in (*module.parameters(), *module.buffers())):
            return module
        return module.to(memory_format=torch.channels_last)

    @cached_property
    def bank(self) -> Bank:
        """The layer bank; its moments take one pass over the calibration samples."""
        moments = self.saliency.moments
        weights = {layer: self.saliency.weight(layer) for layer in moments}
        return Bank(self.structure, weights, moments, self.saliency.centred, self._cache or BankCache())

    @cached_property
    def sequential(self) -> Sequential:
        """Refits copies on their own inputs; what the dense model does is recorded in one pass."""
        inputs = self.calibration.spread(IMAGES, ELEMENTS, FEWEST_IMAGES)
        return Sequential(self.dense(), self.structure, self.bank, self.saliency.norms, inputs)

    @cached_property
    def foldable(self) -> dict[str, str]:
        """Layer -> batch norm that folds into it; none where folding would change the dense model's outputs."""
        parts, module = self.structure.parts, self.dense()
        norms = {
            layer: norm
            for layer, norm in self.saliency.norms.items()
            if not parts[layer].transposed and module.get_submodule(norm).running_mean is not None
        }
        single = len(set(norms.values())) == len(norms)
        return norms if single and folds(module, norms, self.target.example_input.to(self.device)) else {}

    def reestimate(self, module: nn.Module, cuts: Callable[[nn.Module], None]) -> None:
        """Batch-norm statistics of a cut and rounded module, anchored to the dense model's own."""
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
