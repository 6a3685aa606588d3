"""Apply a configuration to a target's model: cut, zero, round, re-estimate, calibrate.

The order matters: norms are re-estimated on the cut and rounded weights, and activation ranges on the norms
that come of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compressors.batch_norm import anchor, reestimate, statistics
from compressors.configuration import Configuration
from compressors.criteria import CRITERIA, Saliency, channel_scores, kept_units, weight_scores
from compressors.derive import derive
from compressors.modules import weight_of
from compressors.quantisers import (
    ActivationQuantiser,
    Quantised,
    RangeObserver,
    calibrated,
    quantise_input,
    quantise_weight,
)
from compressors.slicing import cut
from compressors.sparsity import mask
from compressors.structure import Shape, Structure, nonzeros
from targets import Target
from targets.errors import CompressionError, ConfigurationError, LeanfrontError

CALIBRATION_SAMPLES = 512
CALIBRATION_BATCH = 256


@dataclass(frozen=True)
class Compressed:
    """A compressed model and what it is made of.

    Args:
        module: ready to run, in eval mode; weights hold the dequantised values.
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
    """Makes compressed copies of one target's model; derives what it needs once.

    Args:
        target: the dense model and its calibration split; never changed.
        device: where calibration runs and the modules are left.
        structure: the model's structure when it is known already.
        samples: calibration samples used for batch norm and activation ranges.
    """

    def __init__(
        self,
        target: Target,
        *,
        device: torch.device | str = "cpu",
        structure: Structure | None = None,
        samples: int = CALIBRATION_SAMPLES,
    ) -> None:
        self.target = target
        self.device = torch.device(device)
        self.structure = structure or derive(target.model, target.example_input)
        self.saliency = Saliency(target, self.structure, self.device)
        self._samples = samples
        self._batches: list[Tensor] | None = None
        self._scores: dict[tuple[str, str, int], Tensor] = {}
        self._sampled: nn.Module | None = None

    def kept(self, configuration: Configuration) -> dict[str, tuple[int, ...]]:
        """Indices of the units each cut group keeps, by the configuration's criterion."""
        return {
            group: kept_units(self._channel_scores(group, configuration), kept)
            for group, kept in configuration.channels.items()
        }

    def materialise(self, configuration: Configuration) -> Compressed:
        """Build the compressed model.

        Raises:
            ConfigurationError: the configuration does not fit the model.
            CompressionError: it could not be applied.
        """
        configuration = self.structure.canonical(configuration)
        if configuration.criterion not in CRITERIA and configuration.criterion != "none":
            raise ConfigurationError(
                f"unknown criterion '{configuration.criterion}'; known: {', '.join(CRITERIA)}"
            )
        try:
            return self._materialise(configuration)
        except LeanfrontError:
            raise
        except Exception as error:
            # The user's own code runs in here, on shapes it was not written for.
            raise CompressionError(
                f"the configuration could not be applied ({type(error).__name__}: {error})"
            ) from error

    def _materialise(self, configuration: Configuration) -> Compressed:
        module = self._copy()
        if configuration.is_dense:
            return Compressed(module, configuration)
        kept = self.kept(configuration)
        groups = [self.structure.groups[name] for name in kept]
        gone = {g.name: sorted(set(range(g.units)) - set(kept[g.name])) for g in groups}

        def cuts(copied: nn.Module) -> None:
            cut(copied, groups, gone)

        cuts(module)
        module.requires_grad_(False)  # cut parameters are new ones
        modules = dict(module.named_modules())
        shapes = self.structure.shapes(configuration)
        with torch.no_grad():
            masks = self._sparsify(modules, configuration, cuts, shapes)
            codes = self._quantise(modules, configuration)
            self._reestimate(module, cuts)
        self._quantise_activations(module, configuration)
        return Compressed(module, configuration, kept, codes, masks)

    def _sparsify(
        self,
        modules: Mapping[str, nn.Module],
        configuration: Configuration,
        cuts: Callable[[nn.Module], None],
        shapes: Mapping[str, Shape],
    ) -> dict[str, Tensor]:
        if not configuration.sparsity:
            return {}
        # Scores are of the dense model's weights. Put in the place of the weights they are cut as these are.
        shadow = self._copy()
        scored = dict(shadow.named_modules())
        for layer in configuration.sparsity:
            scores = weight_scores(self.saliency, layer, configuration.criterion, configuration.seed)
            weight_of(scored[layer]).copy_(scores)
        cuts(shadow)
        masks = {}
        for layer, sparsity in configuration.sparsity.items():
            part = self.structure.parts[layer]
            weight = weight_of(modules[layer])
            kept = nonzeros(part, shapes[layer], sparsity)
            scores = weight_of(scored[layer]).cpu()
            masks[layer] = mask(scores, sparsity, kept, axis=0 if part.transposed else 1)
            weight.mul_(masks[layer].to(weight.device))
        return masks

    def _quantise(
        self, modules: Mapping[str, nn.Module], configuration: Configuration
    ) -> dict[str, Quantised]:
        codes = {}
        for layer, bits in configuration.weight_bits.items():
            weight = weight_of(modules[layer])
            if bits == 16:
                weight.copy_(weight.half())
                continue
            quantised = quantise_weight(weight, bits, axis=1 if self.structure.parts[layer].transposed else 0)
            weight.copy_(quantised.dequantise())
            codes[layer] = quantised
        return codes

    def _reestimate(self, module: nn.Module, cuts: Callable[[nn.Module], None]) -> None:
        """Batch-norm statistics of a cut and rounded module, anchored to the dense model's own."""
        dense = statistics(module)
        if not dense:
            return
        if self._sampled is None:
            self._sampled = self._copy()
            reestimate(self._sampled, self._calibration())
        sampled = copy.deepcopy(self._sampled)
        cuts(sampled)
        reestimate(module, self._calibration())
        anchor(module, dense, statistics(sampled))

    def _quantise_activations(self, module: nn.Module, configuration: Configuration) -> None:
        """Give layers their input quantisers, with ranges seen by the compressed model itself."""
        bits = configuration.activation_bits
        if not bits:
            return
        modules = dict(module.named_modules())
        quantisers: dict[str, ActivationQuantiser] = {}
        if configuration.activation_range == "dynamic":
            quantisers = {layer: ActivationQuantiser(width) for layer, width in bits.items()}
        else:
            observers = {layer: RangeObserver() for layer in bits}
            handles = [
                modules[layer].register_forward_pre_hook(_observe(observer))
                for layer, observer in observers.items()
            ]
            try:
                with torch.no_grad():
                    for inputs in self._calibration():
                        module(inputs)
            finally:
                for handle in handles:
                    handle.remove()
            for layer, width in bits.items():
                if observers[layer].width == 0:
                    raise CompressionError(
                        f"layer '{layer}' was not called on the calibration samples, so its input has no range"
                    )
                quantisers[layer] = calibrated(observers[layer], configuration.activation_range, width)
        for layer, quantiser in quantisers.items():
            modules[layer].add_module("input_quantiser", quantiser.to(self.device))
            modules[layer].register_forward_pre_hook(quantise_input)

    def _copy(self) -> nn.Module:
        module = copy.deepcopy(self.target.model).to(self.device).eval()
        module.requires_grad_(False)
        # Convolutions run about a third faster so. Three-dimensional ones have a format of their own.
        if any(p.dim() == 5 for p in (*module.parameters(), *module.buffers())):
            return module
        return module.to(memory_format=torch.channels_last)

    def _channel_scores(self, group: str, configuration: Configuration) -> Tensor:
        key = (group, configuration.criterion, configuration.seed)
        if key not in self._scores:
            self._scores[key] = channel_scores(
                self.saliency, self.structure.groups[group], configuration.criterion, configuration.seed
            )
        return self._scores[key]

    def _calibration(self) -> Iterator[Tensor]:
        """Calibration inputs in batches on the device, loaded once."""
        if self._batches is None:
            split = self.target.calibration
            count = min(self._samples, len(split))
            positions = torch.linspace(0, len(split) - 1, count).round().long().tolist()
            subset = split.subset(positions)
            # Batches of one size: batch-norm statistics weigh them equally.
            size = math.ceil(count / math.ceil(count / CALIBRATION_BATCH))
            self._batches = [channels_last(inputs) for inputs, _ in subset.batches(size, self.device)]
        yield from self._batches


def channels_last(inputs: Tensor) -> Tensor:
    """Images (n, c, h, w) with channels innermost in memory; anything else as it is."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def _observe(observer: RangeObserver) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        observer.observe(inputs[0])

    return hook


def compress(
    target: Target, configuration: Configuration, *, device: torch.device | str = "cpu"
) -> nn.Module:
    """The target's model under a configuration, as a new module in eval mode; the target is not touched.

    Raises:
        ConfigurationError: the configuration does not fit the model.
        CompressionError: it could not be applied.
    """
    return Compressor(target, device=device).materialise(configuration).module
