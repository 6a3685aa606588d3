"""Module types that the compressors know: how they are described and cut.

Torch-pruning cuts the types that it knows; the padding shortcut and attention have pruners here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.guessed_heads import cut_axis, following, guessed_heads, tables
from leanfront.core.compressors.structure.library import function, torch_pruning
from leanfront.core.compressors.structure.norms import BATCH_NORMS, keeps_function
from leanfront.core.compressors.structure.structure import Part
from leanfront.core.targets.attention import HeadAttention
from leanfront.core.targets.layer_types import CONVOLUTIONS
from leanfront.core.targets.pad_shortcut import PadShortcut


class PadShortcutPruner(function.BasePruningFunc):  # type: ignore[misc]
    """Pruner of the option-A shortcut, whose inputs and outputs are separate channel groups tied by an index.

    `index` names, for each output channel, the input channel it copies, or -1 for zeros. Cutting outputs
    drops entries; cutting inputs turns entries that copied a cut channel into zeros and renumbers the rest.
    """

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        assert isinstance(layer, PadShortcut)
        kept = _kept(layer.out_channels, idxs, layer.index.device)
        layer.index = layer.index[kept]
        layer.out_channels = len(kept)
        return layer

    def prune_in_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        assert isinstance(layer, PadShortcut)
        kept = _kept(layer.in_channels, idxs, layer.index.device)
        # One entry more than channels: -1 addresses it from the end and stays -1.
        renumbered = torch.full((layer.in_channels + 1,), -1, dtype=layer.index.dtype, device=kept.device)
        renumbered[kept] = torch.arange(len(kept), dtype=layer.index.dtype, device=kept.device)
        layer.index = renumbered[layer.index.long()]
        layer.in_channels = len(kept)
        return layer

    def get_out_channels(self, layer: nn.Module) -> int:
        assert isinstance(layer, PadShortcut)
        return int(layer.out_channels)

    def get_in_channels(self, layer: nn.Module) -> int:
        assert isinstance(layer, PadShortcut)
        return int(layer.in_channels)


CUSTOM_PRUNERS: dict[type[nn.Module], function.BasePruningFunc] = {PadShortcut: PadShortcutPruner()}
"""Module type -> pruner, for types torch-pruning does not know."""


class HeadsPruner(function.BasePruningFunc):  # type: ignore[misc]
    """Pruner of an attention module's own attributes: its number of heads and the entries of its tables."""

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        assert isinstance(layer, HeadAttention)
        for name, axis in layer.tables.items():
            table = getattr(layer, name)
            rest = table.detach().index_select(axis, _kept(table.shape[axis], idxs, table.device))
            setattr(layer, name, nn.Parameter(rest, requires_grad=table.requires_grad))
        layer.num_heads -= len(idxs)
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: nn.Module) -> int:
        assert isinstance(layer, HeadAttention)
        return layer.num_heads

    get_in_channels = get_out_channels


HEADS_PRUNER = HeadsPruner()


class GuessedHeadsPruner(function.BasePruningFunc):  # type: ignore[misc]
    """Pruner of the numbers of an attention module that was guessed; its layers and tables are cut on their own."""

    def prune_out_channels(self, layer: nn.Module, idxs: Sequence[int]) -> nn.Module:
        guess = guessed_heads(layer)
        assert guess is not None
        for name, each in following(layer, guess).items():
            setattr(layer, name, getattr(layer, name) - each * len(idxs))
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: nn.Module) -> int:
        guess = guessed_heads(layer)
        assert guess is not None
        return guess.units

    get_in_channels = get_out_channels


GUESSED_HEADS_PRUNER = GuessedHeadsPruner()


def _kept(channels: int, idxs: Sequence[int], device: torch.device) -> Tensor:
    mask = torch.ones(channels, dtype=torch.bool)
    mask[list(idxs)] = False
    return mask.nonzero().flatten().to(device)


def pruner_of(module: nn.Module) -> Any | None:
    """Return the pruner that cuts a module, or None if its type is unknown."""
    if isinstance(module, HeadAttention):
        return HEADS_PRUNER
    if guessed_heads(module) is not None:
        return GUESSED_HEADS_PRUNER
    custom = CUSTOM_PRUNERS.get(type(module))
    if custom is not None:
        return custom
    return function.PrunerBox.get(torch_pruning.ops.module2type(module))


def cut_module(module: nn.Module, gone: Mapping[str, Sequence[int]]) -> None:
    """Remove channels of a module, in place.

    Args:
        module: of a type `pruner_of` knows.
        gone: side, ``in`` or ``out`` -> channel indices to remove, in the module's present numbering.
    """
    # Chosen before the first cut: a grouped convolution left with one output a group would look depthwise.
    pruner = pruner_of(module)
    if pruner is None:
        raise TypeError(f"no pruner for {type(module).__name__}")
    for side, indices in gone.items():
        cut = pruner.prune_out_channels if side == "out" else pruner.prune_in_channels
        cut(module, sorted(indices))


def describe(name: str, module: nn.Module) -> Part | None:
    """Describe a module's own tensors and channels; None if it has no tensors of its own."""
    if isinstance(module, CONVOLUTIONS):
        depthwise = module.groups > 1 and module.groups == module.in_channels == module.out_channels
        kernel = 1
        for side in module.kernel_size:
            kernel *= int(side)
        return Part(
            name,
            "depthwise" if depthwise else "conv",
            module.in_channels,
            module.out_channels,
            module.groups,
            kernel,
            module.bias is not None,
            tensors=_beside_weights(module),
            transposed=module.transposed,
            dtype=dtype_name(module.weight.dtype),
        )
    if isinstance(module, nn.Linear):
        return Part(
            name,
            "linear",
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            tensors=_beside_weights(module),
            dtype=dtype_name(module.weight.dtype),
        )
    if isinstance(module, PadShortcut):
        return Part(name, "shortcut", module.in_channels, module.out_channels)
    tensors = own_tensors(module)
    if isinstance(module, HeadAttention):
        held = {k: (s, d, module.tables.get(k)) for k, (s, d, _) in tensors.items()}
        return Part(name, "heads", module.num_heads, module.num_heads, tensors=held)
    if isinstance(module, nn.PReLU) and module.num_parameters == 1:
        return Part(name, "pointwise", 0, 0, tensors={k: (s, d, None) for k, (s, d, _) in tensors.items()})
    if isinstance(module, nn.GroupNorm | nn.PReLU | nn.modules.instancenorm._InstanceNorm):
        vectors: dict[str, tuple[tuple[int, ...], str, int | None]] = {
            k: (s, d, 0) for k, (s, d, _) in tensors.items() if s
        }
        channels = _channelwise_width(module)
        return Part(name, "channelwise", channels, channels, tensors=vectors)
    guess = guessed_heads(module)
    if guess is not None:
        cut = tables(module, guess)
        kept = {k: (s, d, axis if k in cut else None) for k, (s, d, axis) in tensors.items()}
        return Part(name, "heads", guess.units, guess.units, tensors=kept)
    if not tensors:
        return None
    if isinstance(module, BATCH_NORMS):
        channels = module.num_features
        tracked = module.running_mean is not None and keeps_function(module)
        vectors = {k: (s, d, 0 if s == (channels,) else None) for k, (s, d, _) in tensors.items()}
        vectors.pop("num_batches_tracked", None)
        return Part(name, "norm", channels, channels, tensors=vectors, folded=tracked)
    if isinstance(module, nn.LayerNorm):
        channels = int(module.normalized_shape[-1])
        last = len(module.normalized_shape) - 1
        return Part(
            name, "norm", channels, channels, tensors={k: (s, d, last) for k, (s, d, _) in tensors.items()}
        )
    return Part(name, "other", 0, 0, tensors=tensors)


def _channelwise_width(module: nn.Module) -> int:
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    assert isinstance(module, nn.modules.instancenorm._InstanceNorm)
    return module.num_features


def _beside_weights(module: nn.Module) -> dict[str, tuple[tuple[int, ...], str, int | None]]:
    """Return the tensors other than weight and bias of a user-defined layer; they are never cut."""
    own = own_tensors(module).items()
    return {key: (shape, dtype, None) for key, (shape, dtype, _) in own if key not in ("weight", "bias")}


def own_tensors(module: nn.Module) -> dict[str, tuple[tuple[int, ...], str, int | None]]:
    """Return a module's own parameters and persistent buffers: name -> (shape, dtype name, axis a group may cut)."""
    return {
        key: (tuple(tensor.shape), dtype_name(tensor.dtype), cut_axis(tuple(tensor.shape)))
        for key, tensor in [*module.named_parameters(recurse=False), *persistent_buffers(module)]
    }


def persistent_buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return a module's own buffers that belong to its state dict."""
    transient = module._non_persistent_buffers_set
    return [(k, b) for k, b in module.named_buffers(recurse=False) if k not in transient]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype: ``float32`` for torch.float32."""
    return str(dtype).removeprefix("torch.")


def channel_axis(module: nn.Module) -> int:
    """Return the axis of a consumer's input that holds its channels."""
    return -1 if isinstance(module, nn.Linear) else 1


def weight_of(module: nn.Module) -> Tensor:
    """Return a layer's weight tensor."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight


def watch_inputs(
    model: nn.Module, example_input: Tensor, names: Iterable[str], look: Callable[[str, Tensor], None]
) -> None:
    """Call a function with the inputs that modules read in one forward pass.

    Args:
        model: the model, in eval mode.
        example_input: a batch that the model accepts.
        names: dotted paths of the modules to watch.
        look: function called with the path and the first input, if that is a tensor, at every call of a module.
    """
    handles = []
    for name in names:

        def hook(_: nn.Module, inputs: tuple[Any, ...], name: str = name) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                look(name, inputs[0])

        handles.append(model.get_submodule(name).register_forward_pre_hook(hook))
    try:
        with torch.no_grad():
            model(example_input)
    finally:
        for handle in handles:
            handle.remove()


def elements_read(model: nn.Module, example_input: Tensor, names: Iterable[str]) -> dict[str, int]:
    """Count the elements that modules read in one forward pass, summed over their calls.

    Returns:
        Module -> elements of its first input; without modules that are never called with a tensor.
    """
    counts: Counter[str] = Counter()

    def count(name: str, first: Tensor) -> None:
        counts[name] += first.numel()

    watch_inputs(model, example_input, names, count)
    return dict(counts)
