from __future__ import annotations

from typing import Any

import pytest
import torch

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.structure import Part, Shape, nonzeros, weight_count
from leanfront.errors import ConfigurationError

EXAMPLE = torch.zeros(1, 3, 8, 8).normal_(generator=torch.Generator().manual_seed(3))


def test_canonical_drops_what_equals_the_dense_model(nets: Any) -> None:
    structure = derive(nets["depthwise"].build(), EXAMPLE)
    full = Configuration(channels={"enter": 8, "leave": 3})
    assert structure.canonical(full) == Configuration(channels={"leave": 3})
    assert structure.canonical(Configuration(channels={"enter": 8})).is_dense
    # Three inputs, one input a group: no group of four, so nothing is zeroed.
    assert structure.canonical(Configuration(sparsity={"enter": "2:4", "depthwise": "2:4"})).is_dense
    # A share that rounds to no weight at all.
    assert structure.canonical(Configuration(sparsity={"enter": 0.01})).is_dense
    kept = Configuration(sparsity={"leave": "2:4"}, channels={"leave": 3})
    assert structure.canonical(kept) is kept


def test_canonical_drops_activation_bits_of_layers_that_are_never_called(nets: Any) -> None:
    structure = derive(nets["closed-attention"].build(), EXAMPLE)
    both = Configuration(activation_bits={"attention.out_proj": 8, "hidden": 8})
    assert structure.canonical(both) == Configuration(activation_bits={"hidden": 8})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": {"nothing": 2}}, r"no such channel group: nothing; the model has: conv1, conv2"),
        ({"channels": {"conv1": 9}}, "group 'conv1' has 8 channels; 9 cannot be kept"),
        ({"weight_bits": {"bn1": 4}}, r"no such layer \(weight bits\): bn1"),
        ({"activation_bits": {"x": 8}}, r"no such layer \(activation bits\): x"),
        ({"sparsity": {"x": 0.5}}, r"no such layer \(sparsity\): x"),
    ],
)
def test_what_does_not_fit_is_refused(nets: Any, fields: dict[str, Any], message: str) -> None:
    structure = derive(nets["chain"].build(), EXAMPLE)
    with pytest.raises(ConfigurationError, match=message):
        structure.canonical(Configuration(**fields))


def test_shapes_by_hand(nets: Any) -> None:
    grouped = derive(nets["grouped"].build(), EXAMPLE)
    shapes = grouped.shapes(Configuration(channels={"enter": 1, "grouped": 3, "leave": 2}))
    assert shapes == {
        "enter": Shape(3, 4, 1),
        "grouped": Shape(4, 12, 4),
        "leave": Shape(12, 2, 1),
        "linear": Shape(2, 4, 1),
    }
    dense = derive(nets["dense"].build(), EXAMPLE)
    shapes = dense.shapes(Configuration(channels={"stem": 3, "conv1": 2, "conv2": 1}))
    assert shapes["norm2"] == Shape(5, 5, 1)
    assert shapes["conv2"] == Shape(5, 1, 1)
    assert shapes["linear"] == Shape(6, 4, 1)


def test_nonzeros_by_hand() -> None:
    part = Part("a", "conv", 10, 6, 1, 9)
    shape = Shape(10, 6, 1)
    assert weight_count(10, 6, 1, 9) == part.weights == 540
    assert nonzeros(part, shape, None) == 540
    assert nonzeros(part, shape, 0.3) == 378
    assert nonzeros(part, shape, 0.9999) == 1  # never none
    assert nonzeros(part, shape, "2:4") == 6 * 9 * (2 + 2 + 2)  # two whole fours and a dense remainder of two
    assert nonzeros(Part("a", "conv", 16, 8, 4, 9), Shape(16, 8, 4), "2:4") == 8 * 9 * 2
