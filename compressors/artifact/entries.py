"""Conversion between the tensors of a compressed module and the entries of its artifact."""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from leanfront.core.compressors.artifact import packing
from leanfront.core.compressors.artifact.layout import BYTES, Entry
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.quantisation.activations import NAME, attach
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser, Quantised
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.compressors.structure.norms import BATCH_NORMS, inference_form, put_inference_form
from leanfront.core.compressors.structure.structure import Part, Structure
from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.errors import CompressionError

Values = dict[str, Tensor]
"""Entry's name -> its values, (count,), in the entry's dtype, or integers if it is bit-packed."""


def gather(compressed: Compressed, structure: Structure, names: Container[str]) -> Values:
    """Return the values of all entries of a compressed model.

    Args:
        compressed: the compressed model, not folded.
        structure: structure of the dense model.
        names: names of the layout's entries; they tell how masks are stored.

    Raises:
        CompressionError: the weights do not match the integers and masks, or a number that must be finite is not.
    """
    modules = dict(compressed.module.named_modules())
    values: Values = {}
    for name, part in structure.parts.items():
        module = modules[name]
        if part.is_layer:
            values |= _layer_values(part, module, compressed, names)
        elif isinstance(module, PadShortcut) and f"{name}.index" in names:
            values[f"{name}.index"] = module.index
        if part.folded:
            if not isinstance(module, BATCH_NORMS):
                raise CompressionError(
                    f"'{name}' is a {type(module).__name__}, not a batch norm: write the module before folding it"
                )
            values[f"{name}:scale"], values[f"{name}:shift"] = inference_form(module)
            continue
        for tensor in part.tensors:
            values[f"{name}.{tensor}" if name else tensor] = getattr(module, tensor)
    values = {name: tensor.detach().cpu().reshape(-1) for name, tensor in values.items()}
    for name in _finite(structure, values):
        if not bool(values[name].isfinite().all()):
            raise CompressionError(f"'{name}' holds a NaN or infinite number, which an artifact cannot store")
    return values


def _layer_values(part: Part, module: nn.Module, compressed: Compressed, names: Container[str]) -> Values:
    name, configuration = part.name, compressed.configuration
    bits, sparsity = configuration.weight_bits.get(part.name), configuration.sparsity.get(part.name)
    weight = weight_of(module).detach().cpu()
    axis = _input_axis(part)
    values: Values = {}
    mask = None
    if sparsity is not None:
        mask = packing.in_order(compressed.masks[name].cpu(), sparsity, axis)
        if bool(packing.in_order(weight, sparsity, axis)[~mask].any()):
            raise _changed(name, "a weight outside the layer's mask is not zero")
        if f"{name}.weight:pairs" in names:
            values[f"{name}.weight:pairs"] = torch.from_numpy(packing.pairs_of(mask))
        elif f"{name}.weight:index" in names:
            values[f"{name}.weight:index"] = mask.reshape(-1).nonzero()
        else:
            values[f"{name}.weight:bitmap"] = mask.to(torch.uint8)

    def stored(tensor: Tensor) -> Tensor:
        tensor = packing.in_order(tensor, sparsity, axis)
        return tensor.reshape(-1) if mask is None else tensor[mask]

    if bits is None:
        values[f"{name}.weight"] = stored(weight)
    elif bits == 16:
        half = weight.half()
        if not torch.equal(half.float(), weight):
            raise _changed(name, "its weights are not float16 values")
        values[f"{name}.weight"] = stored(half)
    else:
        quantised = compressed.codes[name]
        scale = quantised.scale.cpu()
        whole = Quantised(quantised.codes.cpu(), scale, bits, 1 if part.transposed else 0)
        if not torch.equal(whole.dequantise(), weight) or not torch.equal(scale.half().float(), scale):
            raise _changed(name, "its weights are not its integers times its scales")
        values[f"{name}.weight:codes"] = stored(whole.codes)
        values[f"{name}.weight:scale"] = scale.half()
    if part.bias:
        values[f"{name}.bias"] = _tensor(module, "bias")
    if f"{name}.input:scale" in names:
        quantiser = module.get_submodule(NAME)
        values[f"{name}.input:scale"] = _tensor(quantiser, "scale").float()
        values[f"{name}.input:zero_point"] = _tensor(quantiser, "zero_point").to(torch.uint8)
    return values


def _changed(name: str, what: str) -> CompressionError:
    return CompressionError(
        f"layer '{name}': {what}; write the module as it was compressed, before folding or training it"
    )


def encode(entry: Entry, values: Tensor) -> bytes:
    """Return an entry's bytes, `entry.length` of them for `entry.count` values."""
    if entry.form in BYTES:
        # Viewed as bytes, since NumPy lacks bfloat16.
        return bytes(values.contiguous().view(torch.uint8).numpy().tobytes())
    integers = values.numpy()
    return packing.pack(
        packing.unsigned(integers, entry.bits) if entry.form == "packed" else integers, entry.bits
    )


def decode(entry: Entry, data: memoryview) -> Tensor:
    """Return an entry's values, (count,).

    Args:
        entry: the entry.
        data: the whole data section.

    Raises:
        ValueError: the bytes are not a valid encoding of values.
    """
    piece = data[entry.offset : entry.offset + entry.length]
    if entry.form in BYTES:
        dtype = getattr(torch, entry.form)
        if dtype == torch.bool and bool((np.frombuffer(piece, dtype=np.uint8) > 1).any()):
            raise ValueError("a truth value is neither 0 nor 1")
        return torch.frombuffer(bytearray(piece), dtype=dtype) if entry.count else torch.empty(0, dtype=dtype)
    integers = packing.unpack(piece, entry.bits, entry.count)
    if entry.form == "packed":
        integers = packing.signed(integers, entry.bits)
    # torch supports few operations on uint32.
    return torch.from_numpy(integers.astype(np.int64) if integers.dtype == np.uint32 else integers)


def fill(
    module: nn.Module, structure: Structure, configuration: Configuration, values: Mapping[str, Tensor]
) -> None:
    """Copy an artifact's values into a module, in place.

    Args:
        module: the architecture in eval mode on the CPU, cut as the configuration says; its weights do not matter.
        structure: structure of the dense architecture.
        configuration: the canonical configuration.
        values: values of all entries.

    Raises:
        ValueError: the values are not those of a compressed module.
        RuntimeError: a tensor of the module has another number of values.
    """
    modules = dict(module.named_modules())
    for name in _finite(structure, values):
        if not bool(values[name].isfinite().all()):
            raise ValueError(f"'{name}' holds a NaN or infinite number")
    for name, part in structure.parts.items():
        target = modules[name]
        if part.is_layer:
            _fill_layer(part, target, configuration, values)
        elif isinstance(target, PadShortcut) and f"{name}.index" in values:
            index = values[f"{name}.index"]
            if not bool(((index >= -1) & (index < target.in_channels)).all()):
                raise ValueError(f"'{name}.index' names a channel beyond the {target.in_channels} there are")
            target.index.copy_(index)
        if part.folded:
            _fill_norm(target, values[f"{name}:scale"], values[f"{name}:shift"])
            continue
        for tensor in part.tensors:
            own = _tensor(target, tensor)
            own.copy_(values[f"{name}.{tensor}" if name else tensor].reshape(own.shape))


def _fill_layer(
    part: Part, module: nn.Module, configuration: Configuration, values: Mapping[str, Tensor]
) -> None:
    name = part.name
    bits, sparsity = configuration.weight_bits.get(name), configuration.sparsity.get(name)
    weight = weight_of(module)
    axis = _input_axis(part)
    mask = None
    if sparsity is not None:
        mask = stored_mask(name, values, packing.in_order(weight, sparsity, axis).shape)

    def placed(flat: Tensor) -> Tensor:
        whole = torch.zeros(weight.shape, dtype=flat.dtype)
        ordered = packing.in_order(whole, sparsity, axis)
        if mask is None:
            ordered.copy_(flat.reshape(ordered.shape))
        elif int(mask.sum()) != len(flat):
            raise ValueError(f"'{name}.weight' has {len(flat)} values for {int(mask.sum())} places")
        else:
            ordered[mask] = flat
        return whole

    if bits is None or bits == 16:
        weight.copy_(placed(values[f"{name}.weight"]))
    else:
        scale = _positive(f"{name}.weight:scale", values).float()
        codes = placed(values[f"{name}.weight:codes"])
        weight.copy_(Quantised(codes, scale, bits, 1 if part.transposed else 0).dequantise())
    if part.bias:
        _tensor(module, "bias").copy_(values[f"{name}.bias"])
    width = configuration.activation_bits.get(name)
    if width is None:
        return
    if f"{name}.input:scale" not in values:
        attach(module, ActivationQuantiser(width))
        return
    zero_point = int(values[f"{name}.input:zero_point"])
    if zero_point >= 2**width:
        raise ValueError(f"'{name}.input:zero_point' is {zero_point}, beyond {width} bits")
    attach(module, ActivationQuantiser(width, float(_positive(f"{name}.input:scale", values)), zero_point))


def stored_mask(name: str, values: Mapping[str, Tensor], shape: torch.Size) -> Tensor:
    """Return the mask of the weights that a sparse layer stores, in storage order.

    Args:
        name: name of the layer.
        values: values of all entries.
        shape: shape of the layer's weights in that order.
    """
    if f"{name}.weight:pairs" in values:
        return packing.mask_of_pairs(values[f"{name}.weight:pairs"].numpy(), shape)
    if f"{name}.weight:index" in values:
        index = values[f"{name}.weight:index"].numpy()
        return packing.mask_of_index(index, shape.numel()).reshape(shape)
    return values[f"{name}.weight:bitmap"].bool().reshape(shape)


def _fill_norm(norm: nn.Module, scale: Tensor, shift: Tensor) -> None:
    assert isinstance(norm, BATCH_NORMS)
    if len(scale) != norm.num_features:
        raise ValueError(f"a norm of {norm.num_features} channels is given {len(scale)} scales")
    put_inference_form(norm, scale, shift)


def _finite(structure: Structure, values: Mapping[str, Tensor]) -> list[str]:
    """Return the entries that must hold finite numbers: layers, scales and batch norms.

    Tensors of other modules may hold infinite numbers, as attention masks do.
    """
    found: list[str] = []
    for name, part in structure.parts.items():
        if part.is_layer:
            found += (f"{name}.{entry}" for entry in ("weight", "weight:scale", "bias", "input:scale"))
        if part.folded:
            found += (f"{name}:scale", f"{name}:shift")
    return [name for name in found if name in values]


def _positive(name: str, values: Mapping[str, Tensor]) -> Tensor:
    if not bool((values[name] > 0).all()):
        raise ValueError(f"'{name}' holds a scale that is not positive")
    return values[name]


def _input_axis(part: Part) -> int:
    return 0 if part.transposed else 1


def _tensor(module: nn.Module, name: str) -> Tensor:
    tensor = getattr(module, name)
    assert isinstance(tensor, Tensor)
    return tensor
