"""Application of a configuration to a target's model: cut channels, make the weights, calibrate activations.

The order matters: batch norms are re-estimated on the cut and rounded weights, activation ranges are calibrated
after the norms, and biases are rounded last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.pruning.criteria import CRITERIA
from leanfront.core.compressors.pruning.scores import channel_scores, kept_units
from leanfront.core.compressors.quantisation.activations import quantise_activations
from leanfront.core.compressors.quantisation.integer_biases import round_biases
from leanfront.core.compressors.quantisation.quantisers import Quantised
from leanfront.core.compressors.refit.context import CompressionContext
from leanfront.core.compressors.refit.methods import MAKERS, Work
from leanfront.core.compressors.statistics.cache import BankCache
from leanfront.core.compressors.statistics.calibration import SAMPLES
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.targets import Target
from leanfront.core.targets.memory_format import with_innermost
from leanfront.errors import CompressionError, ConfigurationError, LeanfrontError


@dataclass(frozen=True)
class Compressed:
    """A compressed model with its configuration, kept units, integers and masks.

    Args:
        module: the model, ready to run, in eval mode; weights hold the dequantised values.
        configuration: the canonical configuration.
        kept: channel group -> indices of the kept units; only groups that were cut.
        codes: layer -> its integers and scales; only layers of 2..8 bits.
        masks: layer -> which weights are stored; only sparse layers.
    """

    module: nn.Module
    configuration: Configuration
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    codes: Mapping[str, Quantised] = field(default_factory=dict)
    masks: Mapping[str, Tensor] = field(default_factory=dict)


class Compressor:
    """Maker of compressed copies of one target's model, which computes the dense model's statistics once.

    Args:
        target: the dense model and its calibration split; never changed.
        device: device of the calibration and of the compressed modules.
        structure: structure of the model, if already known; derived by default.
        samples: number of calibration samples used for statistics, batch norm and activation ranges.
        cache: cache of the layer bank on disk; by default in the user's cache folder.
    """

    def __init__(
        self,
        target: Target,
        *,
        device: torch.device | str = "cpu",
        structure: Structure | None = None,
        samples: int = SAMPLES,
        cache: BankCache | None = None,
    ) -> None:
        self.context = CompressionContext(
            target, structure=structure, device=device, samples=samples, cache=cache
        )
        self.target = target
        self.device = self.context.device
        self.structure = self.context.structure
        self._scores: dict[tuple[str, str, int], Tensor] = {}

    def kept(self, configuration: Configuration) -> dict[str, tuple[int, ...]]:
        """Return, for each cut group, the indices of the units kept by the configuration's criterion."""
        return {
            group: kept_units(self._channel_scores(group, configuration), kept)
            for group, kept in configuration.channels.items()
        }

    @torch.inference_mode(False)
    def materialise(self, configuration: Configuration) -> Compressed:
        """Build the compressed model.

        Raises:
            ConfigurationError: the configuration does not fit the model.
            CompressionError: it could not be applied, or it includes a recovery.
        """
        configuration = self.structure.canonical(configuration)
        if configuration.recovery:
            raise CompressionError(
                "the configuration includes a recovery: its weights cannot be made again, they are in its artifact"
            )
        if configuration.criterion not in CRITERIA and configuration.criterion != "none":
            raise ConfigurationError(
                f"unknown criterion '{configuration.criterion}'; known: {', '.join(CRITERIA)}"
            )
        try:
            return self._materialise(configuration)
        except LeanfrontError:
            raise
        except Exception as error:
            # This runs the user's code, on shapes that it was not written for.
            raise CompressionError(
                f"the configuration could not be applied ({type(error).__name__}: {error})"
            ) from error

    def _materialise(self, configuration: Configuration) -> Compressed:
        module = self.context.dense()
        if configuration.is_dense:
            return Compressed(module, configuration)
        kept = self.kept(configuration)
        groups = [self.structure.groups[name] for name in kept]
        gone = {g.name: sorted(set(range(g.units)) - set(kept[g.name])) for g in groups}

        def cuts(copied: nn.Module) -> None:
            cut(copied, groups, gone)

        cuts(module)
        # Cut parameters are new ones.
        with_innermost(module.requires_grad_(False), self.target.channels_last)
        work = Work(module, configuration, kept, self.structure.shapes(configuration), cuts)
        with torch.no_grad():
            made = MAKERS[configuration.method](self.context, work)
        quantise_activations(module, configuration, self.context.calibration.batches)
        if configuration.activation_bits:
            round_biases(module, made.codes, self.context.foldable)
        return Compressed(module, configuration, kept, made.codes, made.masks)

    def _channel_scores(self, group: str, configuration: Configuration) -> Tensor:
        key = (group, configuration.criterion, configuration.seed)
        if key not in self._scores:
            self._scores[key] = channel_scores(
                self.context.saliency,
                self.structure.groups[group],
                configuration.criterion,
                configuration.seed,
            )
        return self._scores[key]


def compress(
    target: Target, configuration: Configuration, *, device: torch.device | str = "cpu"
) -> nn.Module:
    """Return the target's model compressed by a configuration, as a new module in eval mode.

    Args:
        target: the dense model and its calibration split; not changed.
        configuration: kept channels, bit-widths and sparsity.
        device: device on which the model is compressed and returned.

    Raises:
        ConfigurationError: the configuration does not fit the model.
        CompressionError: it could not be applied.
    """
    return Compressor(target, device=device).materialise(configuration).module
