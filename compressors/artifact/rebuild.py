"""Reconstruction of a compressed model from its artifact, with its integers and masks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from leanfront.core.compressors.artifact import packing
from leanfront.core.compressors.artifact.entries import stored_mask
from leanfront.core.compressors.artifact.packed_file import Artifact, contents, restore
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.configuration import Sparsity
from leanfront.core.compressors.quantisation.quantisers import Quantised
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.structure import Structure


@torch.inference_mode(False)
@torch.no_grad()
def compressed_of(artifact: Artifact, structure: Structure, model: nn.Module) -> Compressed:
    """Return the compressed model of an artifact, to write it again, export it or train it further.

    Its norms are in inference form, and `kept` is empty: a file does not say which channels of the dense model
    were kept.

    Args:
        artifact: the artifact.
        structure: structure of the dense architecture.
        model: the dense architecture with any weights; it is not changed.

    Returns:
        The compressed model, on the CPU, in eval mode; `packed_file.write` writes the same bytes again.

    Raises:
        ArtifactError: the artifact is damaged or of another architecture.
    """
    module = restore(artifact, model, structure=structure)
    values = contents(artifact, structure)
    configuration = artifact.configuration
    codes: dict[str, Quantised] = {}
    masks: dict[str, Tensor] = {}
    for name, bits in configuration.weight_bits.items():
        if bits != 16:
            axis = 1 if structure.parts[name].transposed else 0
            weight = weight_of(module.get_submodule(name))
            codes[name] = _quantised(weight, values[f"{name}.weight:scale"].float(), bits, axis)
    for name, sparsity in configuration.sparsity.items():
        axis = 0 if structure.parts[name].transposed else 1
        masks[name] = _mask(name, values, weight_of(module.get_submodule(name)), sparsity, axis)
    return Compressed(module, configuration, {}, codes, masks)


def _quantised(weight: Tensor, scale: Tensor, bits: int, axis: int) -> Quantised:
    # A weight is its integer times its scale, rounded once: dividing gives the integer within half a thousandth.
    shape = [1] * weight.dim()
    shape[axis] = -1
    integers = (weight / scale.view(shape)).round().to(torch.int8).contiguous()
    return Quantised(integers, scale, bits, axis)


def _mask(name: str, values: Mapping[str, Tensor], weight: Tensor, sparsity: Sparsity, axis: int) -> Tensor:
    mask = torch.zeros(weight.shape, dtype=torch.bool)
    ordered = packing.in_order(mask, sparsity, axis)
    ordered.copy_(stored_mask(name, values, ordered.shape))
    return mask
