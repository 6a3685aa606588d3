"""Models of the kinds that users bring: each is compressed, evaluated and restored, or its report says why not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.compressors import Compressor, Configuration, Structure
from leanfront.core.compressors.artifact.layout import layout
from leanfront.core.compressors.artifact.packed_file import read, restore, write
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.cost_models import Profile, count_macs, unsupported
from leanfront.core.cost_models.macs import MacModel
from leanfront.core.targets import Target
from leanfront.core.targets.layer_types import LAYERS
from leanfront.errors import CompressionError, TargetError
from tests import awkward
from tests.awkward import MODELS, Awkward


def target_of(model: Awkward | Any) -> Target:
    generator = torch.Generator().manual_seed(3)
    inputs = model.inputs(40, generator)
    labels = torch.arange(40) % 4
    torch.manual_seed(0)
    return Target(
        model=model.make(),
        example_input=inputs[:1],
        calibration=(inputs[:24], labels[:24]),
        validation=(inputs[24:], labels[24:]),
    )


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest) -> Awkward:
    return MODELS[request.param]


def smallest(structure: Structure, method: str, activations: bool = True) -> Configuration:
    """Everything at once: 4 bits everywhere, inputs of 8 bits, half of every group."""
    return structure.canonical(
        Configuration(
            channels={name: max(1, group.units // 2) for name, group in structure.groups.items()},
            weight_bits=dict.fromkeys(structure.layers, 4),
            activation_bits=dict.fromkeys(structure.layers if activations else (), 8),
            criterion="l1",
            method=method,
        )
    )


def test_each_is_compressed_and_restored(model: Awkward) -> None:
    target = target_of(model)
    structure = derive(target.model, target.example_input)
    assert set(structure.groups) == model.groups
    layers = {n for n, m in target.model.named_modules() if isinstance(m, LAYERS)}
    assert set(structure.layers) == (layers if model.layers is None else model.layers)
    for part, reason in model.reasons.items():
        assert reason in [found for name, _, found in structure.exclusions if name == part]
    compressor = Compressor(target, structure=structure)
    macs = MacModel(Profile(target.model, target.example_input, structure))
    inputs, _ = target.validation.tensors()
    for method in METHODS.values():
        configuration = smallest(structure, method, model.activations)
        compressed = compressor.materialise(configuration)
        assert macs(configuration) == count_macs(compressed.module, target.example_input)
        content = write(compressed, structure)
        assert len(content) == layout(structure, configuration).file_bytes
        restored = restore(read(content), model.make(), target.example_input)
        with torch.no_grad():
            expected, found = compressed.module(inputs), restored(inputs)
        if not isinstance(found, torch.Tensor):
            # The architecture is the user's own, outputs and all.
            found = found["logits"] if isinstance(found, dict) else found.logits
        assert bool(expected.isfinite().all())
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_way_that_calibration_does_not_take_has_no_ranges() -> None:
    compressor = Compressor(target_of(MODELS["branching"]))
    with pytest.raises(CompressionError, match="layer 'bright' was not called on the calibration samples"):
        compressor.materialise(Configuration(activation_bits={"bright": 8}))


def test_recurrent_layers_count_by_hand() -> None:
    target = target_of(MODELS["recurrent"])
    profile = Profile(target.model, target.example_input, derive(target.model, target.example_input))
    # 12 steps of four gates of two directions, and of three gates; then two layers, once.
    assert sum(profile.operations.values()) == (
        12 * (2 * 4 * (8 + 6) * 6 + 3 * (12 + 10) * 10) + 10 * 12 + 12 * 4
    )
    assert unsupported(profile.analysis) == {}


def test_a_pair_is_refused() -> None:
    inputs = torch.randn(8, 3, 8, 8)
    with pytest.raises(
        TargetError, match=r"returns a tuple, not one tensor of class scores; wrap it .*'logits'"
    ):
        Target(model=awkward.Pair(), example_input=inputs[:1], validation=(inputs, torch.arange(8) % 4))


def test_casts_inside_are_refused() -> None:
    inputs = torch.randn(8, 3, 8, 8)
    with pytest.raises(
        TargetError, match=r"the model fails on example_input .* in conv \(Conv2d\): RuntimeError"
    ):
        Target(model=awkward.InnerHalf(), example_input=inputs[:1], validation=(inputs, torch.arange(8) % 4))


def test_a_dictionary_model_is_left_as_it_was() -> None:
    model = awkward.Dictionary().eval()
    inputs = torch.randn(8, 3, 8, 8)
    before = copy.deepcopy(model)
    target = Target(model=model, example_input=inputs[:1], validation=(inputs, torch.arange(8) % 4))
    assert isinstance(target.model, awkward.Dictionary)
    torch.testing.assert_close(target.model(inputs), before(inputs)["logits"])
    assert isinstance(model(inputs), dict)
    assert not model._forward_hooks


def test_a_value_that_is_no_tensor_is_refused() -> None:
    class Text(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return {"logits": "none", "features": x}

    inputs = torch.randn(8, 3)
    with pytest.raises(TargetError, match="returns a dict, not one tensor of class scores"):
        Target(model=Text(), example_input=inputs[:1], validation=(inputs, torch.arange(8) % 3))
