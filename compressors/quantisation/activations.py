"""Quantisers of layer inputs, with ranges observed on the compressed model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.quantisation.quantisers import (
    ActivationQuantiser,
    RangeObserver,
    calibrated,
    quantise_input,
)
from leanfront.errors import CompressionError

NAME = "input_quantiser"


def attach(layer: nn.Module, quantiser: ActivationQuantiser) -> None:
    """Attach a quantiser to a layer's input."""
    layer.add_module(NAME, quantiser)
    layer.register_forward_pre_hook(quantise_input)


def detach(layer: nn.Module) -> None:
    """Undo `attach`."""
    delattr(layer, NAME)
    for key, hook in list(layer._forward_pre_hooks.items()):
        if hook is quantise_input:
            del layer._forward_pre_hooks[key]


def quantiser_of(inputs: Tensor, rule: str, bits: int) -> ActivationQuantiser:
    """Return the quantiser that a range rule picks for these inputs."""
    if rule == "dynamic":
        return ActivationQuantiser(bits)
    observer = RangeObserver()
    observer.observe(inputs)
    return calibrated(observer, rule, bits).to(inputs.device)


def quantise_activations(module: nn.Module, configuration: Configuration, batches: Iterable[Tensor]) -> None:
    """Attach the quantisers that a configuration asks for and that are not yet attached.

    Args:
        module: the compressed model, in eval mode.
        configuration: the canonical configuration.
        batches: calibration inputs (n, ...) on the module's device.

    Raises:
        CompressionError: a layer was never called, or its inputs are not finite.
    """
    modules = dict(module.named_modules())
    bits = {name: b for name, b in configuration.activation_bits.items() if not hasattr(modules[name], NAME)}
    if not bits:
        return
    if configuration.activation_range == "dynamic":
        for layer, width in bits.items():
            attach(modules[layer], ActivationQuantiser(width))
        return
    observers = {layer: RangeObserver() for layer in bits}
    handles = [
        modules[layer].register_forward_pre_hook(_observe(observer)) for layer, observer in observers.items()
    ]
    device = torch.device("cpu")
    try:
        with torch.no_grad():
            for inputs in batches:
                device = inputs.device
                module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    for layer, width in bits.items():
        if observers[layer].width == 0:
            raise CompressionError(
                f"layer '{layer}' was not called on the calibration samples, so its input has no range"
            )
        quantiser = calibrated(observers[layer], configuration.activation_range, width)
        attach(modules[layer], quantiser.to(device))


def _observe(observer: RangeObserver) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        observer.observe(inputs[0])

    return hook
