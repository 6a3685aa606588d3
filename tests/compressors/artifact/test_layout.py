"""Bytes are counted again from a materialised model, and the header is held against one that safetensors writes."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Compressor, Configuration, Structure
from leanfront.core.compressors.artifact.layout import CHECK, FORMAT, index_bits, layout, memory_bytes
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.targets.pad_shortcut import PadShortcut

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


def bits_to_bytes(bits: int) -> int:
    return math.ceil(bits / 8)


def recount(compressed: Compressed, dense: nn.Module) -> int:
    """Bytes of what a materialised model holds, by the conventions in the layout's docstring.

    Knows nothing of `Structure`: shapes, integers, scales and masks are read off the module itself.
    """
    configuration = compressed.configuration
    total = 0
    seen: set[int] = set()
    originals = dict(dense.named_modules())
    for name, module in compressed.module.named_modules():
        if name.endswith("input_quantiser"):
            total += 0 if module.dynamic else 4 + 1
            continue
        if isinstance(module, PadShortcut):
            original: Any = originals[name]
            changed = (module.in_channels, module.out_channels) != (
                original.in_channels,
                original.out_channels,
            )
            total += 2 * len(module.index) if changed else 0
            continue
        own = {k: p for k, p in module.named_parameters(recurse=False) if id(p) not in seen}
        seen.update(id(p) for p in own.values())
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            total += 2 * 4 * module.num_features
            continue
        if isinstance(module, LAYERS) and "weight" in own and "parametrizations" not in name:
            total += weight_bytes(name, own.pop("weight"), module, compressed, configuration)
        total += sum(p.numel() * p.element_size() for p in own.values())
        transient = module._non_persistent_buffers_set
        total += sum(
            b.numel() * b.element_size()
            for key, b in module.named_buffers(recurse=False)
            if key not in transient
        )
    return total


def weight_bytes(
    name: str, weight: Tensor, module: Any, compressed: Compressed, configuration: Configuration
) -> int:
    values = weight.numel()
    total = 0
    if name in compressed.masks:
        mask = compressed.masks[name]
        assert not weight[~mask].any()
        values = int(mask.sum())
        if configuration.sparsity[name] == "2:4":
            inputs = weight.shape[0] if getattr(module, "transposed", False) else weight.shape[1]
            total += bits_to_bytes(4 * (weight.numel() // inputs) * (inputs // 4))
        else:
            index = values * max(1, math.ceil(math.log2(weight.numel())))
            total += min(bits_to_bytes(index), bits_to_bytes(weight.numel()))
    if name in compressed.codes:
        quantised = compressed.codes[name]
        assert torch.equal(quantised.dequantise(), weight)
        total += bits_to_bytes(values * quantised.bits) + 2 * len(quantised.scale)
    elif configuration.weight_bits.get(name) == 16:
        assert torch.equal(weight.half().float(), weight)
        total += 2 * values
    else:
        total += 4 * values
    return total


def configurations(structure: Structure) -> dict[str, Configuration]:
    layers = structure.layers
    half = {name: max(1, group.units // 2) for name, group in structure.groups.items()}
    bits = {layer: (2, 3, 5, 7, 8, 16)[i % 6] for i, layer in enumerate(layers)}
    shares = {layer: (0.5, 0.97, 0.3)[i % 3] for i, layer in enumerate(layers)}
    everything = Configuration(
        channels=half, weight_bits=bits, sparsity=shares, activation_bits=dict.fromkeys(layers, 6)
    )
    return {
        "dense": Configuration(),
        "bits": Configuration(weight_bits=bits),
        "sparse": Configuration(sparsity=shares),
        "sparse bits": Configuration(sparsity=shares, weight_bits=bits),
        "2:4": Configuration(sparsity=dict.fromkeys(layers, "2:4")),
        "2:4 bits": Configuration(sparsity=dict.fromkeys(layers, "2:4"), weight_bits=bits),
        "activations": Configuration(activation_bits=dict.fromkeys(layers, 8)),
        "dynamic": Configuration(activation_bits=dict.fromkeys(layers, 8), activation_range="dynamic"),
        "cut": Configuration(channels=half),
        "cut 2:4": Configuration(channels=half, sparsity=dict.fromkeys(layers, "2:4")),
        "cut to one": Configuration(channels=dict.fromkeys(half, 1)),
        "everything": everything,
    }


@pytest.mark.parametrize("method", METHODS)
def test_bytes_equal_those_of_the_materialised_model(net: Any, make_target: Any, method: str) -> None:
    target = make_target(net.build(), 24)
    compressor = Compressor(target)
    for what, configuration in configurations(compressor.structure).items():
        canonical = compressor.structure.canonical(configuration.change(method=method))
        placed = layout(compressor.structure, canonical, "made")
        expected = recount(compressor.materialise(canonical), target.model)
        assert placed.memory_bytes == expected, what
        assert memory_bytes(compressor.structure, canonical) == expected, what
        offset = 0
        for entry in placed.entries:
            assert entry.offset == offset
            assert entry.length == math.ceil(entry.count * entry.bits / 8) > 0
            offset += entry.length
        assert len({entry.name for entry in placed.entries}) == len(placed.entries)


def test_a_layer_by_hand() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(50, 7)).eval()
    structure = derive(model, torch.randn(1, 50))

    def size(**fields: Any) -> int:
        return memory_bytes(structure, Configuration(**fields))

    assert size() == 4 * 350 + 4 * 7
    assert size(weight_bits={"1": 3}) == math.ceil(3 * 350 / 8) + 2 * 7 + 28
    assert size(weight_bits={"1": 16}) == 700 + 28
    # 35 weights: an index of 9 bits each (40 bytes) beats the bitmap (44 bytes).
    assert size(sparsity={"1": 0.9}) == 4 * 35 + 40 + 28
    assert size(sparsity={"1": 0.5}) == 4 * 175 + 44 + 28
    assert size(sparsity={"1": "2:4"}) == 4 * (7 * (24 + 2)) + math.ceil(7 * 12 * 4 / 8) + 28
    assert size(activation_bits={"1": 8}) == size() + 5
    assert size(activation_bits={"1": 8}, activation_range="dynamic") == size()


def test_index_bits() -> None:
    assert [index_bits(n) for n in (1, 2, 3, 4, 5, 256, 257)] == [1, 1, 2, 2, 3, 8, 9]


@pytest.mark.parametrize("target", ["", "digits", 'a "quoted" \\ name', "größe 模型", "tab\there\x01"])
def test_the_header_is_as_long_as_the_one_safetensors_writes(nets: Any, target: str) -> None:
    structure = derive(nets["chain"].build(), torch.randn(1, 3, 8, 8))
    for configuration in configurations(structure).values():
        placed = layout(structure, configuration, target)
        data = torch.zeros(placed.memory_bytes, dtype=torch.uint8)
        written = safetensors.torch.save(
            {"data": data},
            {
                "format": FORMAT,
                "target": target,
                "configuration": configuration.canonical_text(),
                "check": "0" * CHECK,
            },
        )
        assert placed.file_bytes == len(written)
        (length,) = struct.unpack("<Q", written[:8])
        assert len(placed.header) == length
        assert json.loads(placed.header) == json.loads(written[8 : 8 + length])
        ours = struct.pack("<Q", len(placed.header)) + placed.header + bytes(placed.memory_bytes)
        assert torch.equal(safetensors.torch.load(ours)["data"], data)


class Zoo(nn.Module):
    """Tensors of unusual types beside one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.spectrum = nn.Parameter(torch.ones(4, dtype=torch.complex64))
        self.register_buffer("steps", torch.zeros(3, dtype=torch.int64))
        self.register_buffer("flags", torch.zeros(5, dtype=torch.bool))
        self.register_buffer("transient", torch.zeros(9), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.spectrum.real.sum()


def test_unusual_types_are_counted_at_their_width() -> None:
    structure = derive(Zoo().eval(), torch.randn(1, 3))
    assert memory_bytes(structure, Configuration()) == 4 * 8 + 8 * 4 + 8 * 3 + 5


def test_a_layers_own_further_tensors_are_counted() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.gain = nn.Parameter(torch.ones(2))

    structure = derive(nn.Sequential(Scaled()).eval(), torch.randn(1, 3))
    assert memory_bytes(structure, Configuration()) == 4 * (6 + 2 + 2)
    assert memory_bytes(structure, Configuration(weight_bits={"0": 4})) == 3 + 4 + 4 * (2 + 2)
