"""Artifacts are as long as the layout says, and give the module back from an architecture without weights."""

from __future__ import annotations

import copy
import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Compressor, Configuration, Structure
from leanfront.core.compressors.artifact.layout import CHECK, layout
from leanfront.core.compressors.artifact.packed_file import (
    Artifact,
    coded_bytes,
    contents,
    read,
    restore,
    write,
)
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.targets.memory_format import has_innermost, with_innermost
from leanfront.core.targets.pad_shortcut import PadShortcut
from leanfront.errors import ArtifactError, CompressionError, TargetError

PROBE = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def compressor_of(make_target: Any) -> Callable[[Any], Compressor]:
    """A compressor a network, made once."""
    known: dict[Any, Compressor] = {}

    def find(net: Any) -> Compressor:
        if net.make not in known:
            known[net.make] = Compressor(make_target(net.build(), 24))
        return known[net.make]

    return find


def blank(model: nn.Module) -> nn.Module:
    """The architecture, its floating weights and statistics NaN: whatever is left of them shows."""
    empty = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in empty.state_dict().values():
            if tensor.is_floating_point():
                tensor.fill_(math.nan)
    return empty


def outputs(module: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = module(PROBE)
    return found


def there_and_back(compressed: Compressed, compressor: Compressor) -> nn.Module:
    """Write, read and restore, in the memory format of the compressed module; what must hold of every artifact."""
    structure, target = compressor.structure, compressor.target
    placed = layout(structure, compressed.configuration, "made")
    content = write(compressed, structure, "made")
    assert len(content) == placed.file_bytes
    (length,) = struct.unpack("<Q", content[:8])
    check = json.loads(content[8 : 8 + length])["__metadata__"]["check"]
    assert content[8 : 8 + length] == placed.header.replace(b"0" * CHECK, check.encode())
    artifact = read(content)
    assert artifact == Artifact(compressed.configuration, "made", content[8 + len(placed.header) :])
    assert (artifact.memory_bytes, artifact.file_bytes) == (placed.memory_bytes, placed.file_bytes)
    module = restore(artifact, blank(target.model), target.example_input)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    _same_integers(compressed, artifact, structure)
    made, found = dict(compressed.module.named_modules()), dict(module.named_modules())
    assert list(made) == list(found)
    for name in structure.layers:
        assert torch.equal(made[name].weight, found[name].weight), name
    return with_innermost(module, has_innermost(compressed.module))


def _same_integers(compressed: Compressed, artifact: Artifact, structure: Structure) -> None:
    values = contents(artifact, structure)
    for name, quantised in compressed.codes.items():
        codes = values[f"{name}.weight:codes"]
        assert codes.dtype == torch.int8
        stored = compressed.masks.get(name, torch.ones_like(quantised.codes, dtype=torch.bool))
        if artifact.configuration.sparsity.get(name) == "2:4":
            axis = 0 if structure.parts[name].transposed else 1
            assert torch.equal(codes, quantised.codes.movedim(axis, -1)[stored.movedim(axis, -1)])
        else:
            assert torch.equal(codes, quantised.codes[stored])
        assert torch.equal(values[f"{name}.weight:scale"].float(), quantised.scale)


def configurations(structure: Structure) -> st.SearchStrategy[Configuration]:
    """Any mixture of cuts, bits and sparsity; layers alike in part of them."""
    layers = st.sampled_from(structure.layers)
    shares = st.one_of(st.just("2:4"), st.sampled_from([0.02, 0.3, 0.5, 0.9, 0.99]))
    cuts = {
        name: st.one_of(st.just(group.units), st.integers(1, group.units))
        for name, group in structure.groups.items()
    }
    return st.builds(
        Configuration,
        channels=st.fixed_dictionaries(cuts),
        weight_bits=st.dictionaries(layers, st.sampled_from([2, 3, 4, 5, 6, 7, 8, 16])),
        activation_bits=st.dictionaries(layers, st.sampled_from([4, 8])),
        sparsity=st.dictionaries(layers, shares),
        activation_range=st.sampled_from(["minmax", "dynamic"]),
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_configuration_there_and_back(net: Any, compressor_of: Any, data: st.DataObject) -> None:
    compressor = compressor_of(net)
    configuration = data.draw(configurations(compressor.structure))
    compressed = compressor.materialise(configuration)
    module = there_and_back(compressed, compressor)
    made, found = outputs(compressed.module), outputs(module)
    if configuration.activation_bits:
        # A difference in the last bit of a norm may move an activation to the next level.
        assert found.shape == made.shape
        assert bool(found.isfinite().all())
    else:
        assert float((found - made).abs().max()) <= TOLERANCE * float(made.abs().max())


@pytest.mark.parametrize("method", [name for name in METHODS if name != "rounding"])
def test_every_method_there_and_back(net: Any, compressor_of: Any, method: str) -> None:
    compressor = compressor_of(net)
    structure = compressor.structure
    layers = structure.layers
    half = {name: max(1, group.units // 2) for name, group in structure.groups.items()}
    for sparsity in (0.6, "2:4"):
        configuration = Configuration(
            channels=half,
            weight_bits={layer: (3, 5, 16)[place % 3] for place, layer in enumerate(layers)},
            sparsity=dict.fromkeys(layers, sparsity),
            method=method,
        )
        compressed = compressor.materialise(configuration)
        made, found = outputs(compressed.module), outputs(there_and_back(compressed, compressor))
        assert float((found - made).abs().max()) <= TOLERANCE * float(made.abs().max())


@pytest.mark.parametrize("name", ["chain", "depthwise", "zero-gamma", "volume"])
def test_folded_modules_agree_to_the_last_bit(nets: Any, compressor_of: Any, name: str) -> None:
    compressor = compressor_of(nets[name])
    layers = compressor.structure.layers
    compressed = compressor.materialise(
        Configuration(weight_bits=dict.fromkeys(layers, 4), activation_bits=dict.fromkeys(layers, 8))
    )
    module = there_and_back(compressed, compressor)
    foldable = compressor.context.foldable
    assert foldable
    fold(module, foldable)
    fold(compressed.module, foldable)
    assert torch.equal(outputs(module), outputs(compressed.module))


@pytest.mark.parametrize("rule", ["minmax", "dynamic"])
def test_quantisers_of_activations_come_back(nets: Any, compressor_of: Any, rule: str) -> None:
    compressor = compressor_of(nets["residual"])  # without norms, so that nothing is rounded anew
    layers = compressor.structure.layers
    bits = {layer: 4 + place % 5 for place, layer in enumerate(layers)}
    compressed = compressor.materialise(Configuration(activation_bits=bits, activation_range=rule))
    module = there_and_back(compressed, compressor)
    assert torch.equal(outputs(module), outputs(compressed.module))
    for layer in layers:
        made = compressed.module.get_submodule(layer).input_quantiser
        found = module.get_submodule(layer).input_quantiser
        assert (found.bits, found.dynamic) == (made.bits, made.dynamic) == (bits[layer], rule == "dynamic")
        assert torch.equal(found.scale, made.scale)
        assert torch.equal(found.zero_point, made.zero_point)


def test_a_shortcut_s_index_comes_back(nets: Any, compressor_of: Any) -> None:
    compressor = compressor_of(nets["option-a"])
    compressed = compressor.materialise(
        Configuration(channels={"stem": 4, "outer": 7}, criterion="random", seed=3)
    )
    module = there_and_back(compressed, compressor)
    made = compressed.module.shortcut
    assert isinstance(made, PadShortcut)
    first = copy.deepcopy(compressor.target.model).shortcut.index
    assert made.index.tolist() != first[: len(made.index)].tolist()
    assert torch.equal(module.shortcut.index, made.index)


class Norms(nn.Module):
    """Batch norms with and without scale and statistics, and one that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.plain = nn.BatchNorm2d(5, affine=False)
        self.twice = nn.BatchNorm2d(5, eps=0.1)
        self.unread = nn.InstanceNorm2d(5)
        self.linear = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(torch.relu(self.twice(self.plain(self.conv(x)))))
        return self.linear(self.unread(x).mean((2, 3)))


def test_norms_in_inference_form(make_target: Any) -> None:
    model = Norms()
    with torch.no_grad():
        model.train()(3 * PROBE + 1)
        model.twice.weight.copy_(torch.linspace(-1, 1, 5))
    compressor = Compressor(make_target(model.eval(), 24))
    compressed = compressor.materialise(Configuration(weight_bits={"conv": 4}))
    module = there_and_back(compressed, compressor)
    made, found = outputs(compressed.module), outputs(module)
    assert float((found - made).abs().max()) <= TOLERANCE * float(made.abs().max())
    for norm in (module.plain, module.twice):
        assert (norm.eps, norm.affine) == (0, True)
        assert not norm.running_mean.any()
        assert bool((norm.running_var == 1).all())


class Odd(nn.Module):
    """Tensors of unusual types, one of them infinite as an attention mask is, one of them empty."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.spectrum = nn.Parameter(torch.tensor([1 + 2j, 3j], dtype=torch.complex64))
        self.register_buffer("steps", torch.tensor(7))
        self.register_buffer("flags", torch.tensor([True, False, True]))
        self.register_buffer("mask", torch.full((2, 2), -math.inf).triu(1))
        self.register_buffer("nothing", torch.zeros(0))

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) * self.spectrum.abs()) @ self.mask.exp()


def test_other_tensors_come_back() -> None:
    model = Odd().eval()
    structure = derive(model, torch.randn(1, 3))
    content = write(Compressed(model, Configuration()), structure)
    empty = Odd()
    with torch.no_grad():
        empty.spectrum.zero_()
        empty.steps.zero_()
        empty.flags.zero_()
        empty.mask.zero_()
    module = restore(read(content), empty)
    for name, tensor in model.state_dict().items():
        assert torch.equal(module.state_dict()[name], tensor), name
    assert not empty.flags.any()  # the caller's is not touched
    flags = next(e for e in layout(structure, Configuration()).entries if e.name == "flags")
    artifact = read(content)
    damaged = bytearray(artifact.data)
    damaged[flags.offset] = 2
    with pytest.raises(ArtifactError, match="'flags': a truth value is neither 0 nor 1"):
        restore(replace(artifact, data=bytes(damaged)), empty)


def test_a_module_that_was_changed_is_not_written(nets: Any, compressor_of: Any) -> None:
    compressor = compressor_of(nets["chain"])
    structure = compressor.structure

    def changed(configuration: Configuration, change: Callable[[nn.Module], Any]) -> str:
        compressed = compressor.materialise(configuration)
        with torch.no_grad():
            change(compressed.module)
        with pytest.raises(CompressionError) as caught:
            write(compressed, structure)
        return str(caught.value)

    four = Configuration(weight_bits={"conv1": 4})
    assert "not its integers times its scales" in changed(four, lambda m: m.conv1.weight.mul_(1.01))
    assert "before folding" in changed(four, lambda m: fold(m, {"conv2": "bn2"}))
    half = Configuration(weight_bits={"conv1": 16})
    assert "not float16" in changed(half, lambda m: m.conv1.weight.mul_(1.01))
    sparse = Configuration(sparsity={"conv1": 0.5})
    assert "outside the layer's mask" in changed(sparse, lambda m: m.conv1.weight.add_(1))
    assert "'bn1:scale' holds a NaN" in changed(four, lambda m: m.bn1.running_var.fill_(-1))
    wrong = Compressed(compressor.materialise(four).module, Configuration(channels={"conv1": 4}))
    with pytest.raises(CompressionError, match="takes 864 bytes where the layout has 432"):
        write(wrong, structure)


def test_an_architecture_that_does_not_fit(nets: Any, compressor_of: Any) -> None:
    compressor = compressor_of(nets["chain"])
    structure, example = compressor.structure, compressor.target.example_input
    cut = read(write(compressor.materialise(Configuration(channels={"conv1": 4})), structure, "made"))
    with pytest.raises(TargetError, match="'made' has channels cut: give an example input"):
        restore(cut, nets["chain"].build())
    with pytest.raises(
        ArtifactError, match="'made' is of another architecture: no such channel group: conv1"
    ):
        restore(cut, nets["residual"].build(), example)
    dense = read(write(compressor.materialise(Configuration()), structure, "made"))
    with pytest.raises(ArtifactError, match=r"holds \d+ bytes where this one takes \d+"):
        restore(dense, nets["residual"].build())
    with pytest.raises(TargetError, match="channel groups cannot be found"):
        restore(cut, nets["chain"].build(), example[:, :1])


def test_coded_bytes() -> None:
    assert coded_bytes(bytes(100_000)) < 100
    noise = torch.randint(0, 256, (10_000,), dtype=torch.uint8).numpy().tobytes()
    assert 10_000 <= coded_bytes(noise) < 10_100
    assert Artifact(Configuration(), "", noise).coded_bytes == coded_bytes(noise)
