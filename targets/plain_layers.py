"""Plain layers in the place of layers that make their weight from other tensors.

Masks, weight norm, spectral norm and parametrisations are removed with torch's own functions. Other layers, such as
weight-standardised convolutions, are called on small random inputs: if they do nothing but one convolution or linear
map, with the same made weight every time, on the input as it is or padded with zeros, then a plain layer with that
weight takes their place. That its outputs are equal is checked on every input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from leanfront.core.targets.layer_types import LAYERS

TOLERANCE = 1e-5
"""Largest difference of a plain layer's outputs, as a share of the largest output."""
CALLS = 3
"""Number of inputs, each of another size, on which a layer is called."""

_WINDOWS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
FUNCTIONS: dict[Any, tuple[type[nn.Module], tuple[str, ...]]] = {
    nn.functional.linear: (nn.Linear, ("input", "weight", "bias")),
    nn.functional.conv1d: (nn.Conv1d, _WINDOWS),
    nn.functional.conv2d: (nn.Conv2d, _WINDOWS),
    nn.functional.conv3d: (nn.Conv3d, _WINDOWS),
    nn.functional.conv_transpose1d: (nn.ConvTranspose1d, _TRANSPOSED),
    nn.functional.conv_transpose2d: (nn.ConvTranspose2d, _TRANSPOSED),
    nn.functional.conv_transpose3d: (nn.ConvTranspose3d, _TRANSPOSED),
}
"""Function -> plain layer that calls it, and names of its arguments."""


def plain_layers(model: nn.Module) -> nn.Module:
    """Put plain layers in the place of layers whose weight is made of other tensors, in place.

    Args:
        model: private model in eval mode, in float32 on the CPU; it is not itself such a layer.

    Returns:
        The model. Layers that cannot be replaced stay as they are.
    """
    with torch.no_grad():
        for module in model.modules():
            _remove_makers(module)
    made: dict[nn.Module, nn.Module | None] = {}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is None or not _may_make_weight(child):
                continue
            if child not in made:
                made[child] = _plain(child)
            plain = made[child]
            if plain is not None:
                setattr(parent, name, plain)
    return model


def makes_weight(layer: nn.Module) -> bool:
    """Whether a layer is known to compute with another weight than its own parameter."""
    if "weight" not in layer._parameters:
        return True
    if not _may_make_weight(layer):
        return False
    calls = list(_calls(layer, _inputs(layer)))
    return bool(calls) and all(call.options["weight"] is not layer.weight for call in calls)


# Makers that torch knows


def _remove_makers(module: nn.Module) -> None:
    if parametrize.is_parametrized(module):
        _remove_parametrizations(module)
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            hook.remove(module)
            del module._forward_pre_hooks[key]
        else:
            continue
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, each, None) for each in module._flat_weights_names]


def _remove_parametrizations(module: nn.Module) -> None:
    """Do what `parametrize.remove_parametrizations` does, which would change the class that a deep copy shares."""
    made: Any = module.parametrizations
    lists = dict(made.items())
    values = {name: getattr(module, name).detach().clone() for name in lists}
    kind = parametrize.type_before_parametrizations(module)
    del module._modules["parametrizations"]
    module.__class__ = kind
    for name, value in values.items():
        gradients = [each.requires_grad for each in lists[name].parameters(recurse=False)]
        if gradients:
            module.register_parameter(name, nn.Parameter(value, requires_grad=any(gradients)))
        else:
            module.register_buffer(name, value)


# Layers of others


@dataclass(frozen=True)
class _Call:
    """A call of a function in a layer's forward, with the layer's input and output."""

    kind: type[nn.Module]
    options: dict[str, Any]
    input: Tensor
    output: Any
    returned: Any


class _Watch(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[type[nn.Module], dict[str, Any], Any]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in FUNCTIONS:
            kind, names = FUNCTIONS[func]
            options = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
            self.seen.append((kind, options, output))
        return output


def _may_make_weight(module: nn.Module) -> bool:
    if module._modules or module._forward_hooks:
        return False
    if isinstance(module, LAYERS):
        plain = next(kind for kind in LAYERS if isinstance(module, kind))
        own = any(getattr(type(module), name, None) is not getattr(plain, name, None) for name in _FORWARDS)
        return own or "forward" in vars(module) or "weight" not in module._parameters
    known = type(module).__module__.startswith(("torch.nn.", "leanfront."))
    return not known and any(2 <= each.dim() <= 5 for each in module._parameters.values() if each is not None)


_FORWARDS = ("forward", "_conv_forward")


def _plain(layer: nn.Module) -> nn.Module | None:
    """Return the plain layer that computes the same, or None if there is none or the layer is one."""
    for inputs in _inputs(layer), *(_guessed(layer, each) for each in layer._parameters.values()):
        calls = list(_calls(layer, inputs))
        if len(calls) == CALLS and all(call.returned is call.output for call in calls):
            return _replacement(layer, calls)
    return None


def _replacement(layer: nn.Module, calls: Sequence[_Call]) -> nn.Module | None:
    first = calls[0]
    weight, bias = first.options["weight"], first.options.get("bias")
    own = any(weight is each for each in layer.parameters())
    if own and all(call.options["input"] is call.input for call in calls):
        return None
    plain: Any = _layer(first.kind, first.options)
    padding = None
    if any(call.options["input"] is not call.input for call in calls):
        padding = next((each for each in _paddings(first, plain) if all(map(each.explains, calls))), None)
        if padding is None:
            return None
    plain.weight = _parameter(weight, layer)
    plain.bias = None if bias is None else _parameter(bias, layer)
    if padding is not None:
        plain.register_forward_pre_hook(padding)
    plain.train(layer.training)
    with torch.no_grad():
        for call in calls:
            found = plain(call.input)
            if not torch.allclose(found, call.output, 0.0, TOLERANCE * float(call.output.abs().max())):
                return None
    assert isinstance(plain, nn.Module)
    return plain


def _parameter(value: Tensor, layer: nn.Module) -> nn.Parameter:
    gradients = any(each.requires_grad for each in layer.parameters())
    return nn.Parameter(value.detach().clone(), requires_grad=gradients)


def _layer(kind: type[nn.Module], options: dict[str, Any]) -> Any:
    """Return a plain layer for a call's options, with tensors on the meta device."""
    weight: Tensor = options["weight"]
    bias = options.get("bias") is not None
    if kind is nn.Linear:
        return nn.Linear(weight.shape[1], weight.shape[0], bias, device="meta")
    groups = options.get("groups", 1)
    inputs, outputs = weight.shape[1] * groups, weight.shape[0]
    if "Transpose" in kind.__name__:
        inputs, outputs = weight.shape[0], weight.shape[1] * groups
    names = ("stride", "padding", "output_padding", "dilation", "groups")
    given = {name: options[name] for name in names if name in options}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return kind(inputs, outputs, tuple(weight.shape[2:]), bias=bias, device="meta", **given)


def _calls(layer: nn.Module, inputs: Sequence[Tensor]) -> Iterator[_Call]:
    """Yield the one functional call of each forward; nothing more after a forward that fails or makes others."""
    # A forward may change buffers and attributes, but a weight must be the very parameter, if it is one.
    trial = copy.deepcopy(layer, {id(each): each for each in layer.parameters()})
    for x in inputs:
        watch = _Watch()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), watch:
                output = trial(x)
        except Exception:
            return
        if len(watch.seen) != 1 or not isinstance(output, Tensor):
            return
        kind, options, made = watch.seen[0]
        yield _Call(kind, options, x, made, output)


def _inputs(layer: nn.Module) -> list[Tensor]:
    """Return inputs of different sizes for a layer of torch's kinds."""
    if isinstance(layer, nn.Linear):
        return _random([(2 + i, layer.in_features) for i in range(CALLS)])
    if not isinstance(layer, LAYERS):
        return []
    assert isinstance(layer, nn.modules.conv._ConvNd)
    return _images(layer.in_channels, layer.kernel_size, layer.dilation, layer.stride)


def _guessed(layer: nn.Module, parameter: Tensor | None) -> list[Tensor]:
    """Return inputs that fit if a parameter is shaped as the weight of a linear map or a convolution."""
    if parameter is None or isinstance(layer, LAYERS) or not 2 <= parameter.dim() <= 5:
        return []
    if parameter.dim() == 2:
        return _random([(2 + i, parameter.shape[1]) for i in range(CALLS)])
    sides = len(parameter.shape) - 2
    groups = getattr(layer, "groups", 1)
    channels = parameter.shape[1] * (groups if isinstance(groups, int) else 1)
    return _images(channels, parameter.shape[2:], (1,) * sides, (1,) * sides)


def _images(
    channels: int, kernel: Sequence[int], dilation: Sequence[int], stride: Sequence[int]
) -> list[Tensor]:
    # Sizes of both parities, as padding to the same size depends on them.
    fields = [(k - 1) * d + 1 + 2 * s for k, d, s in zip(kernel, dilation, stride, strict=True)]
    return _random(
        [(1 + i, channels, *(side + i + 2 * axis for axis, side in enumerate(fields))) for i in range(CALLS)]
    )


def _random(shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


# Padding with zeros


@dataclass(frozen=True)
class Padding:
    """Forward pre-hook that pads a layer's input with zeros.

    Args:
        amounts: spatial sizes of the input -> number of zeros (before, after) along each side.
    """

    amounts: Callable[[Sequence[int]], list[tuple[int, int]]]

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.padded(inputs[0]), *inputs[1:])

    def padded(self, x: Tensor) -> Tensor:
        """Return the padded input."""
        amounts = self.amounts(x.shape[2:])
        return nn.functional.pad(x, [each for pair in reversed(amounts) for each in pair])

    def explains(self, call: _Call) -> bool:
        """Whether this is how the function of a call got its input."""
        found = self.padded(call.input)
        given = call.options["input"]
        return found.shape == given.shape and bool((found == given).all())


@dataclass(frozen=True)
class Fixed:
    """The same padding for every size."""

    pairs: tuple[tuple[int, int], ...]

    def __call__(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        return list(self.pairs)


@dataclass(frozen=True)
class Same:
    """TensorFlow's padding, after which ceil(size / stride) outputs are left, with the odd zero at the end."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    def __call__(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        pairs = []
        for size, k, s, d in zip(sizes, self.kernel, self.stride, self.dilation, strict=True):
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            pairs.append((total // 2, total - total // 2))
        return pairs


def _paddings(call: _Call, plain: Any) -> Iterator[Padding]:
    """Yield paddings that may turn a layer's input into that of its function."""
    x, given = call.input, call.options["input"]
    if isinstance(plain, nn.Linear) or x.shape[:2] != given.shape[:2]:
        return
    yield Padding(Same(tuple(plain.kernel_size), tuple(plain.stride), tuple(plain.dilation)))
    more = [after - before for before, after in zip(x.shape[2:], given.shape[2:], strict=True)]
    if min(more) < 0:
        return
    starts = [_start(x, given, axis, extra) for axis, extra in enumerate(more)]
    yield Padding(Fixed(tuple((start, extra - start) for start, extra in zip(starts, more, strict=True))))


def _start(x: Tensor, given: Tensor, axis: int, extra: int) -> int:
    """Return how many slices of zeros come first along a spatial axis."""
    others = [each for each in range(given.dim()) if each != axis + 2]
    zero = (given.abs().amax(others) == 0).tolist()
    return min(extra, next((index for index, each in enumerate(zero) if not each), 0))
