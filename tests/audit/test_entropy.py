"""Entropy against closed forms, a coder that must be decoded, and artifacts counted by hand."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
import torch

from leanfront.core.audit.entropy import artifact_entropy, binary_entropy, entropy, sparse_bound
from leanfront.core.audit.entropy_coder import LOWEST, PRECISION, encode, frequencies
from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.artifact.packed_file import Artifact, contents, read, write
from leanfront.core.targets import Target


def laplacian(count: int, scale: float, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).laplace(0, scale, count)
    return np.clip(np.round(values), -128, 127).astype(np.int8)


def decode(data: bytes) -> np.ndarray:
    """Undo `encode` by the textbook: the decoder of the range asymmetric numeral system."""
    count, size = struct.unpack_from("<IH", data)
    symbols = np.frombuffer(data, np.int8, size, 6)
    shares = np.frombuffer(data, "<u2", size, 6 + size)
    owner = np.repeat(np.arange(size), shares).tolist()
    widths, starts = shares.tolist(), (np.cumsum(shares) - shares).tolist()
    place = 6 + 3 * size
    (state,) = struct.unpack_from("<I", data, place)
    place += 4
    found = np.empty(count, np.int8)
    for number in range(count):
        slot = state & ((1 << PRECISION) - 1)
        symbol = owner[slot]
        found[number] = symbols[symbol]
        state = widths[symbol] * (state >> PRECISION) + slot - starts[symbol]
        while state < LOWEST:
            state = (state << 8) | data[place]
            place += 1
    return found


def test_entropy_of_known_distributions() -> None:
    assert entropy(np.repeat(np.arange(16), 5)) == pytest.approx(4)
    assert entropy(np.zeros(9, np.int8)) == 0
    assert entropy(np.zeros(0, np.int8)) == 0
    assert entropy(np.array([1, 1, 1, -7])) == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert binary_entropy(0.5) == 1
    assert binary_entropy(0) == binary_entropy(1) == 0
    assert binary_entropy(0.11) == pytest.approx(0.49992, abs=1e-5)


def test_a_sparse_tensors_bound_is_the_entropy_of_the_whole() -> None:
    whole = laplacian(5000, 0.6)
    stored = whole[whole != 0]
    bound = len(whole) * binary_entropy(len(stored) / len(whole)) + len(stored) * entropy(stored)
    assert sparse_bound(len(whole), stored) == pytest.approx(bound)
    assert bound == pytest.approx(len(whole) * entropy(whole))
    # Zeros that are stored cost as much as those that are not.
    assert sparse_bound(len(whole), whole[1000:]) == pytest.approx(
        sparse_bound(len(whole), np.append(whole[1000:][whole[1000:] != 0], np.zeros(3, np.int8)))
    )
    assert sparse_bound(0, stored[:0]) == 0


@pytest.mark.parametrize(
    ("count", "scale"), [(0, 1.0), (1, 1.0), (7, 3.0), (3000, 0.05), (30000, 0.7), (30000, 30.0)]
)
def test_the_coder_can_be_decoded_and_comes_close_to_the_entropy(count: int, scale: float) -> None:
    values = laplacian(count, scale)
    coded = encode(values)
    assert np.array_equal(decode(coded), values)
    table = 10 + 3 * len(np.unique(values))
    bound = count * entropy(values) / 8
    assert bound <= len(coded) <= 1.01 * bound + table + 2


def test_frequencies_fill_the_scale_and_forget_no_symbol() -> None:
    for counts in ([1], [1, 10**7], [1] * 256, [10**6, *[1] * 255], [5, 5, 5]):
        shares = frequencies(np.array(counts))
        assert shares.sum() == 1 << 14
        assert shares.min() >= 1
    with pytest.raises(ValueError, match="takes -128 to 127"):
        encode(np.array([0, 128]))


@pytest.fixture(scope="module")
def compressor(tiny: Target) -> Compressor:
    return Compressor(tiny, samples=64)


def artifact(compressor: Compressor, configuration: Configuration) -> Artifact:
    return read(write(compressor.materialise(configuration), compressor.structure, "tiny"))


@pytest.mark.parametrize("sparsity", [None, 0.3, 0.95, "2:4"])
@pytest.mark.parametrize("bits", [None, 3, 8])
def test_every_byte_of_an_artifact_is_counted_once(
    compressor: Compressor, bits: int | None, sparsity: float | str | None
) -> None:
    layers = compressor.structure.layers
    configuration = Configuration(
        weight_bits=dict.fromkeys(layers, bits) if bits else {},
        sparsity=dict.fromkeys(layers, sparsity) if sparsity else {},
    )
    made = artifact(compressor, configuration)
    found = artifact_entropy(made, compressor.structure)
    packed = sum(layer.packed_bytes for layer in found.layers)
    assert packed + found.scale_bytes + found.float_bytes == found.memory_bytes == made.memory_bytes
    assert found.header_bytes + found.memory_bytes == found.file_bytes
    if bits:
        assert found.scale_bytes == 2 * (8 + 8 + 16 + 4)
    for layer in found.layers:
        assert layer.bound_bytes <= layer.coded_bytes
        assert (layer.entropy is None) == (bits is None)
    assert found.bound_bytes <= found.coded_bytes <= found.memory_bytes


def test_a_layers_bound_is_that_of_its_weights(compressor: Compressor) -> None:
    layers = compressor.structure.layers
    configuration = Configuration(
        weight_bits=dict.fromkeys(layers, 4), sparsity={"conv2": 0.5, "conv3": 0.97}
    )
    compressed = compressor.materialise(configuration)
    made = read(write(compressed, compressor.structure))
    found = {layer.layer: layer for layer in artifact_entropy(made, compressor.structure).layers}
    assert set(found) == set(layers)
    for name, layer in found.items():
        codes = compressed.codes[name].codes.numpy().reshape(-1)
        assert layer.weights == codes.size
        assert 8 * layer.bound_bytes == pytest.approx(codes.size * entropy(codes))
    values = contents(made, compressor.structure)
    assert found["conv2"].entropy == pytest.approx(entropy(values["conv2.weight:codes"].numpy()))


def test_what_repeats_is_below_the_order_0_bound_for_others() -> None:
    """zlib may beat H: order 0 sees no structure."""
    import zlib

    values = np.tile(np.arange(16, dtype=np.int8), 500)
    assert len(zlib.compress(values.tobytes(), 9)) < len(values) * entropy(values) / 8 < len(encode(values))


def test_activation_ranges_count_as_scales(compressor: Compressor) -> None:
    layers = compressor.structure.layers
    configuration = Configuration(
        weight_bits=dict.fromkeys(layers, 8), activation_bits=dict.fromkeys(layers, 8)
    )
    found = artifact_entropy(artifact(compressor, configuration), compressor.structure)
    assert found.scale_bytes == 2 * (8 + 8 + 16 + 4) + 5 * len(layers)
    assert torch.tensor(found.described_bits) == 8 * (found.header_bytes + found.coded_bytes)
