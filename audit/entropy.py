"""Information in quantised tensors: order-0 entropy, the bound that it sets, and the sizes by real coders."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from leanfront.core.audit.entropy_coder import Integers, encode
from leanfront.core.compressors import Structure
from leanfront.core.compressors.artifact.entries import Values
from leanfront.core.compressors.artifact.layout import Entry, layout
from leanfront.core.compressors.artifact.packed_file import Artifact, coded_bytes, contents
from leanfront.core.compressors.structure.structure import weight_count
from leanfront.core.objectives.documents import plain

MASKS = ("bitmap", "index", "pairs")


def entropy(values: Integers) -> float:
    """Compute the order-0 entropy H = -sum p log2 p of integers (n,), in bits per value; 0 if there are none."""
    if not len(values):
        return 0.0
    counts = np.unique(values, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(abs((shares * np.log2(shares)).sum()))


def binary_entropy(share: float) -> float:
    """Compute h2(p) = -p log2 p - (1 - p) log2(1 - p), in bits, for p in [0, 1]."""
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)


def sparse_bound(total: int, stored: Integers) -> float:
    """Compute the bits that a static order-0 code of a sparse tensor needs: n h2(density) + nnz H(nonzero).

    Args:
        total: n, the number of values of the tensor.
        stored: the stored values, as integers; zeros among them count as left out.
    """
    nonzero = stored[stored != 0]
    return total * binary_entropy(len(nonzero) / total) + len(nonzero) * entropy(nonzero) if total else 0.0


@dataclass(frozen=True)
class LayerEntropy:
    """Sizes of one layer's quantised or sparse weights, as stored in the artifact and under entropy codes.

    Scales and biases are left out.

    Args:
        layer: name of the layer.
        bits: bits per stored weight.
        weights: number of weights, including zeros that a mask leaves out.
        stored: number of weights stored one by one.
        entropy: entropy of the integers, bits per stored weight; None for weights stored as floats.
        packed_bytes: bytes in the artifact, mask included.
        bound_bytes: bytes that a static order-0 code needs, with floats as they are; not rounded up.
        coded_bytes: bytes by a real order-0 coder with its table, mask included.
        zlib_bytes: bytes by zlib at its strongest, of one byte per integer with zeros where a mask leaves weights
            out (for 2:4 one byte per pair besides; for floats the bytes as they are).
        lzma_bytes: bytes by LZMA2 at its strongest, of the same input.
    """

    layer: str
    bits: int
    weights: int
    stored: int
    entropy: float | None
    packed_bytes: int
    bound_bytes: float
    coded_bytes: int
    zlib_bytes: int
    lzma_bytes: int

    @property
    def best_bytes(self) -> int:
        """Bytes by the real order-0 coder, or as stored if its table costs more than it saves."""
        return min(self.coded_bytes, self.packed_bytes)


@dataclass(frozen=True)
class ArtifactEntropy:
    """Sizes of an artifact's layers and of everything else in it.

    Args:
        layers: quantised or sparse layers.
        memory_bytes: bytes of the data section.
        file_bytes: bytes of the whole file.
        scale_bytes: bytes of the scales of weights and activations.
        float_bytes: bytes of everything else: weights that are neither quantised nor sparse, biases, norms.
        header_bytes: bytes of the file's header.
        lzma_bytes: bytes of the data section under LZMA2.
    """

    layers: tuple[LayerEntropy, ...]
    memory_bytes: int
    file_bytes: int
    scale_bytes: int
    float_bytes: int
    header_bytes: int
    lzma_bytes: int

    @property
    def bound_bytes(self) -> float:
        """Least bytes of the data section under static order-0 codes of the layers' integers."""
        return self.scale_bytes + self.float_bytes + sum(layer.bound_bytes for layer in self.layers)

    @property
    def coded_bytes(self) -> int:
        """Bytes of the data section under the real order-0 coder."""
        return self.scale_bytes + self.float_bytes + sum(layer.best_bytes for layer in self.layers)

    @property
    def described_bits(self) -> int:
        """L(model) of a two-part description: bits of header, scales, floats and coded integers."""
        return 8 * (self.header_bytes + self.coded_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready dictionary."""
        said: dict[str, Any] = plain(self)
        return {
            **said,
            "bound_bytes": self.bound_bytes,
            "coded_bytes": self.coded_bytes,
            "described_bits": self.described_bits,
        }


def artifact_entropy(artifact: Artifact, structure: Structure) -> ArtifactEntropy:
    """Compute the sizes of an artifact, entry by entry.

    Args:
        artifact: the artifact as read.
        structure: structure of the dense model.

    Raises:
        ArtifactError: the artifact is damaged or has another architecture.
    """
    values = contents(artifact, structure)
    entries = {
        entry.name: entry for entry in layout(structure, artifact.configuration, artifact.target).entries
    }
    shapes = structure.shapes(artifact.configuration)
    layers, rest = [], dict(entries)
    for name in structure.layers:
        own = {
            what: rest.pop(key)
            for what in ("", ":codes", *(f":{mask}" for mask in MASKS))
            if (key := f"{name}.weight{what}") in rest
        }
        if list(own) == [""]:
            rest[own[""].name] = own[""]
            continue
        shape = shapes[name]
        total = weight_count(shape.inputs, shape.outputs, shape.groups, structure.parts[name].kernel)
        layers.append(_layer(name, total, own, values, artifact.data))
    scales = sum(entry.length for entry in rest.values() if _is_scale(entry.name, structure))
    return ArtifactEntropy(
        layers=tuple(layers),
        memory_bytes=artifact.memory_bytes,
        file_bytes=artifact.file_bytes,
        scale_bytes=scales,
        float_bytes=sum(entry.length for entry in rest.values()) - scales,
        header_bytes=artifact.file_bytes - artifact.memory_bytes,
        lzma_bytes=artifact.coded_bytes,
    )


def _is_scale(name: str, structure: Structure) -> bool:
    owner, _, what = name.rpartition(":")
    layer, _, tensor = owner.rpartition(".")
    return what in ("scale", "zero_point") and tensor in ("weight", "input") and layer in structure.layers


def _layer(name: str, total: int, entries: Mapping[str, Entry], values: Values, data: bytes) -> LayerEntropy:
    held = entries.get(":codes") or entries[""]
    integers = _array(values[held.name]) if held.form == "packed" else None
    sparse = [entry for what, entry in entries.items() if what[1:] in MASKS]
    packed = sum(entry.length for entry in entries.values())
    if integers is None:
        # Floats are taken as they are: only the mask is coded.
        text = b"".join(data[entry.offset : entry.offset + entry.length] for entry in entries.values())
        bound = held.length + _mask_bound(total, held.count, sparse[0], values) / 8
        coded = held.length + _mask_coded(total, sparse[0], values)
    elif sparse and sparse[0].form == "pairs":
        text = integers.astype(np.int8).tobytes() + _array(values[sparse[0].name]).tobytes()
        bound = (_mask_bound(total, held.count, sparse[0], values) + held.count * entropy(integers)) / 8
        coded = len(encode(integers)) + _mask_coded(total, sparse[0], values)
    else:
        whole = _whole(total, integers, sparse, values)
        text = whole.tobytes()
        bound = sparse_bound(total, integers) / 8
        coded = len(encode(whole))
    return LayerEntropy(
        layer=name,
        bits=held.bits,
        weights=total,
        stored=held.count,
        entropy=None if integers is None else entropy(integers),
        packed_bytes=packed,
        bound_bytes=bound,
        coded_bytes=coded,
        zlib_bytes=len(zlib.compress(text, 9)),
        lzma_bytes=coded_bytes(text),
    )


def _mask_bound(total: int, stored: int, mask: Entry, values: Values) -> float:
    """Return the bits of a mask: the entropy of its pairs for a pattern of four, else n h2(density)."""
    if mask.form == "pairs":
        return mask.count * entropy(_array(values[mask.name]))
    return total * binary_entropy(stored / total)


def _mask_coded(total: int, mask: Entry, values: Values) -> int:
    if mask.form == "index":
        flags = np.zeros(total, np.int8)
        flags[_array(values[mask.name])] = 1
        return min(len(encode(flags)), mask.length)
    return min(len(encode(_array(values[mask.name]))), mask.length)


def _whole(total: int, integers: Integers, sparse: list[Entry], values: Values) -> Integers:
    """Return a layer's integers with zeros where its mask leaves weights out."""
    if not sparse:
        return integers.astype(np.int8)
    places = _array(values[sparse[0].name])
    whole = np.zeros(total, np.int8)
    whole[places if sparse[0].form == "index" else places.astype(bool)] = integers
    return whole


def _array(values: Tensor) -> Integers:
    found: Integers = values.numpy()
    return found
