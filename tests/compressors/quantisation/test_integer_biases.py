"""Biases on the grid of integer sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.quantisation.activations import NAME, attach
from leanfront.core.compressors.quantisation.integer_biases import round_biases
from leanfront.core.compressors.quantisation.quantisers import ActivationQuantiser, quantise_weight
from leanfront.core.compressors.structure.norms import inference_form
from leanfront.core.targets import Target

Make = Callable[..., Target]


def bits(compressor: Compressor, weights: int, activations: int | None, **fields: object) -> Configuration:
    layers = compressor.structure.layers
    return Configuration(
        weight_bits=dict.fromkeys(layers, weights),
        activation_bits=dict.fromkeys(layers, activations) if activations else {},
        **fields,  # type: ignore[arg-type]
    )


def folded(module: nn.Module, layer: str, norm: str | None) -> Tensor:
    """The bias of a layer whose norm is folded, in float64."""
    own = cast(Any, module.get_submodule(layer)).bias
    bias = torch.zeros((), dtype=torch.float64) if own is None else own.double()
    if norm is None:
        return bias
    scale, shift = inference_form(cast(Any, module.get_submodule(norm)).double())
    return shift + bias * scale


@pytest.mark.parametrize("name", ["chain", "residual", "depthwise", "grouped", "option-a"])
@pytest.mark.parametrize("width", [8, 3])
def test_biases_are_whole_multiples_of_the_steps(
    name: str, width: int, nets: Mapping[str, Any], make_target: Make
) -> None:
    compressor = Compressor(make_target(nets[name].build()))
    compressed = compressor.materialise(bits(compressor, width, 8))
    norms, module = compressor.context.foldable, compressed.module
    seen = 0
    for layer, quantised in compressed.codes.items():
        part: Any = module.get_submodule(layer)
        unit = quantised.scale.double() * part.get_submodule(NAME).scale.double()
        norm = norms.get(layer)
        if norm is not None:
            unit = unit * inference_form(cast(Any, module.get_submodule(norm)))[0].double()
        elif part.bias is None:
            continue
        steps = folded(module, layer, norm) / unit
        seen += int((steps.round() != 0).sum())
        assert float((steps - steps.round()).abs().max()) < 0.01
    assert seen > 0


def test_only_integer_inputs_round_them(nets: Mapping[str, Any], make_target: Make) -> None:
    compressor = Compressor(make_target(nets["chain"].build()))
    layers = compressor.structure.layers
    plain = compressor.materialise(bits(compressor, 4, None)).module.state_dict()
    dynamic = compressor.materialise(bits(compressor, 4, 8, activation_range="dynamic")).module.state_dict()
    half = compressor.materialise(
        Configuration(weight_bits={layers[0]: 4}, activation_bits=dict.fromkeys(layers, 8))
    )
    dense = compressor.materialise(Configuration(weight_bits={layers[0]: 4})).module.state_dict()
    for name, tensor in plain.items():
        assert torch.equal(dynamic[name], tensor)
    after = half.module.state_dict()
    changed = {name for name in dense if not torch.equal(after[name], dense[name])}
    first = compressor.context.foldable.get(layers[0], layers[0])
    assert changed == {f"{first}.bias"}


def test_a_bias_beside_which_the_step_is_nothing_stays() -> None:
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight[1] = 0
        linear.weight[2] *= 1e-20
        linear.bias.copy_(torch.tensor([0.3, 0.7, -1.1]))
    quantised = quantise_weight(linear.weight.detach(), 8)
    quantised.scale[1:] = torch.tensor([0.0, 1e-25])
    attach(linear, ActivationQuantiser(8, 0.01))
    module = nn.Sequential(linear)
    round_biases(module, {"0": quantised}, {})
    assert torch.equal(linear.bias[1:], torch.tensor([0.7, -1.1]))
    unit = float(quantised.scale[0]) * 0.01
    assert float(linear.bias.detach()[0]) / unit == pytest.approx(round(0.3 / unit), abs=1e-2)
