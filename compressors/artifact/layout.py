"""Layout of the packed artifact: which bytes hold which tensor. Cost models and writers share this pure function.

`memory_bytes` is the artifact's data section and `file_bytes` the whole file. Conventions:

- b-bit weights have 2^b levels and are bit-packed, each tensor padded to a whole byte; one float16 scale
  per output channel.
- 16-bit weights are float16 without scales; everything not quantised keeps its own type (float32 mostly).
- Batch norm with running statistics is stored in inference form, y = scale x + shift: two float32 vectors.
- Biases and other norm parameters are float32 (their own type).
- A sparse layer stores its nonzero weights in order, plus the cheaper of a bitmap (one bit per weight) and an
  index list (ceil(log2 n) bits per nonzero weight). A layer with the pattern 2:4 stores four bits per group of
  four (two 2-bit positions), and nothing for the dense remainder.
- A calibrated activation quantiser is a float32 scale and a one-byte zero point per layer.
- The channel index of a padding shortcut is int16 per output, stored only if it differs from the architecture's.
- Header: the safetensors format with one byte tensor that holds the whole data section, and as metadata the
  configuration, the target's name and a checksum of all three. Names of tensors are not stored: the layout gives
  their places.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.structure.structure import Part, Shape, Structure, nonzeros, weight_count

FORMAT = "leanfront-1"
CHECK = 16
"""Length of the checksum, in hexadecimal digits."""
Run = tuple[str, str, int, int]
"""An entry without an offset: its name, form, count and bits."""
BYTES = {
    "complex128": 16,
    "complex64": 8,
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
}


@dataclass(frozen=True)
class Entry:
    """One run of bytes in the data section.

    Args:
        name: dotted tensor name and content, such as ``conv1.weight:codes``.
        form: encoding: a dtype name, ``packed`` (bits per value), ``bitmap``, ``index`` or ``pairs``.
        count: number of values.
        bits: bits per value.
        offset: first byte in the data section.
    """

    name: str
    form: str
    count: int
    bits: int
    offset: int

    @property
    def length(self) -> int:
        """Number of bytes, rounded up."""
        return (self.count * self.bits + 7) // 8


@dataclass(frozen=True)
class Layout:
    """All entries of an artifact, and its header."""

    entries: tuple[Entry, ...]
    header: bytes

    @property
    def memory_bytes(self) -> int:
        """Length of the data section."""
        last = self.entries[-1] if self.entries else None
        return 0 if last is None else last.offset + last.length

    @property
    def file_bytes(self) -> int:
        """Length of the whole file: 8 bytes of header length, the header, the data."""
        return 8 + len(self.header) + self.memory_bytes


def layout(structure: Structure, configuration: Configuration, target: str = "") -> Layout:
    """Place every tensor of a configuration's artifact.

    Args:
        structure: structure of the dense model.
        configuration: canonical configuration for that structure.
        target: name written into the header.
    """
    runs = _runs(structure, configuration)
    entries, offset = [], 0
    for name, form, count, bits in runs:
        entry = Entry(name, form, count, bits, offset)
        entries.append(entry)
        offset += entry.length
    return Layout(tuple(entries), header(configuration, target, offset))


def memory_bytes(structure: Structure, configuration: Configuration) -> int:
    """Return the bytes of the data section: `layout(...).memory_bytes` without placing entries."""
    return run_bytes(_runs(structure, configuration))


def run_bytes(runs: Iterable[Run]) -> int:
    """Return the bytes of runs, each rounded up to a whole byte."""
    return sum((count * bits + 7) // 8 for _, _, count, bits in runs)


def index_bits(total: int) -> int:
    """Return the bits of one position among `total`: ceil(log2 total), at least 1."""
    return max(1, (total - 1).bit_length())


def header(configuration: Configuration, target: str, data: int, check: str = "0" * CHECK) -> bytes:
    """Return the artifact's header for a data section of `data` bytes and a checksum of CHECK characters."""
    text = json.dumps(
        {
            "__metadata__": {
                "format": FORMAT,
                "target": target,
                "configuration": configuration.canonical_text(),
                "check": check,
            },
            "data": {"dtype": "U8", "shape": [data], "data_offsets": [0, data]},
        },
        separators=(",", ":"),
        ensure_ascii=False,  # as safetensors writes it
    ).encode()
    # safetensors aligns the data section to eight bytes with spaces.
    return text + b" " * (-len(text) % 8)


def _runs(structure: Structure, configuration: Configuration) -> list[Run]:
    shapes = structure.shapes(configuration)
    gone = structure.cut_parameters(configuration)
    runs: list[Run] = []
    for name, part in structure.parts.items():
        shape = shapes[name]
        if part.is_layer:
            runs += layer_runs(part, shape, configuration)
        elif part.kind == "shortcut" and (shape.inputs, shape.outputs) != (part.inputs, part.outputs):
            runs.append((f"{name}.index", "int16", shape.outputs, 16))
        if part.folded:
            runs.append((f"{name}:scale", "float32", shape.outputs, 32))
            runs.append((f"{name}:shift", "float32", shape.outputs, 32))
            continue
        for tensor, (dense, dtype, dimension) in part.tensors.items():
            # A bare parameter of the model's root module has no module name before it.
            path = f"{name}.{tensor}" if name else tensor
            count = 1
            for axis, side in enumerate(dense):
                if axis == dimension:
                    side = side - gone[path] if path in gone else side - (part.outputs - shape.outputs)
                count *= side
            runs.append((path, dtype, count, 8 * BYTES[dtype]))
    return runs


def layer_runs(part: Part, shape: Shape, configuration: Configuration) -> list[Run]:
    """Return the runs that a layer stores: weights, mask, bias and input quantiser.

    Args:
        part: the layer in the dense model.
        shape: channel counts that the configuration leaves.
        configuration: the canonical configuration.
    """
    name = part.name
    total = weight_count(shape.inputs, shape.outputs, shape.groups, part.kernel)
    sparsity = configuration.sparsity.get(name)
    stored = nonzeros(part, shape, sparsity)
    bits = configuration.weight_bits.get(name)
    own = 8 * BYTES[part.dtype]
    runs: list[Run] = []
    if bits is None:
        runs.append((f"{name}.weight", part.dtype, stored, own))
    elif bits == 16:
        runs.append((f"{name}.weight", "float16", stored, 16))
    else:
        runs.append((f"{name}.weight:codes", "packed", stored, bits))
        runs.append((f"{name}.weight:scale", "float16", shape.outputs, 16))
    if sparsity == "2:4":
        quads = (shape.inputs // shape.groups // 4) * part.kernel * shape.outputs
        if quads:
            runs.append((f"{name}.weight:pairs", "pairs", quads, 4))
    elif sparsity is not None:
        width = index_bits(total)
        if stored * width < total:
            runs.append((f"{name}.weight:index", "index", stored, width))
        else:
            runs.append((f"{name}.weight:bitmap", "bitmap", total, 1))
    if part.bias:
        runs.append((f"{name}.bias", part.dtype, shape.outputs, own))
    if name in configuration.activation_bits and configuration.activation_range != "dynamic":
        runs.append((f"{name}.input:scale", "float32", 1, 32))
        runs.append((f"{name}.input:zero_point", "uint8", 1, 8))
    return runs
