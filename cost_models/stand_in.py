"""Stand-ins: modules that run as long as a configuration's own module, made in milliseconds."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from leanfront.core.compressors import ActivationQuantiser, Configuration, Quantised
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.quantisation.activations import attach
from leanfront.core.compressors.quantisation.quantisers import levels
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.cost_models.profile import Profile
from leanfront.core.targets.memory_format import with_innermost


def stand_in(profile: Profile, configuration: Configuration) -> Compressed:
    """Make a compressed module with the shapes and types of the configuration's own module, in milliseconds.

    It runs as long, because neither the choice of channels nor the values of weights change the run time.

    Args:
        profile: profile of the dense model.
        configuration: canonical configuration.
    """
    module = copy.deepcopy(profile.model).requires_grad_(False)
    structure = profile.structure
    groups = [structure.groups[name] for name in configuration.channels]
    kept = {group.name: tuple(range(configuration.channels[group.name])) for group in groups}
    cut(module, groups, {group.name: range(len(kept[group.name]), group.units) for group in groups})
    module = with_innermost(module.requires_grad_(False), profile.channels_last)
    modules = dict(module.named_modules())
    codes = {}
    with torch.no_grad():
        for layer, bits in configuration.weight_bits.items():
            weight = weight_of(modules[layer])
            if bits < 16:
                codes[layer] = _rounded(weight, bits, 1 if structure.parts[layer].transposed else 0)
                weight.copy_(codes[layer].dequantise())
            else:
                weight.copy_(weight.half())
    for layer, bits in configuration.activation_bits.items():
        dynamic = configuration.activation_range == "dynamic"
        # ONNX Runtime merges a ReLU into the quantiser after it only if 0 is the lowest level.
        zero_point = 0 if layer in profile.nonnegative_inputs else 2 ** (bits - 1)
        attach(modules[layer], ActivationQuantiser(bits, None if dynamic else 2.0 ** (2 - bits), zero_point))
    return Compressed(module, configuration, kept, codes)


def _rounded(weight: Tensor, bits: int, axis: int) -> Quantised:
    """Round to the nearest level of a scale set by the largest weight: fast, not accurate."""
    low, high = levels(bits)
    others = [dimension for dimension in range(weight.dim()) if dimension != axis]
    scale = (weight.abs().amax(others, keepdim=True) / high).clamp_min(2.0**-14).half().float()
    codes = (weight / scale).round().clamp(low, high).to(torch.int8).contiguous()
    return Quantised(codes, scale.flatten(), bits, axis)
