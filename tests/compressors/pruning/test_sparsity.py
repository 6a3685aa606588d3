from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.compressors.pruning.sparsity import mask
from leanfront.core.compressors.structure.structure import Part, Shape, nonzeros

SCORES = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@given(SCORES, st.data())
def test_exactly_the_highest_stay_and_earlier_ones_win_ties(scores: list[int], data: Any) -> None:
    kept = data.draw(st.integers(1, len(scores)))
    found = mask(torch.tensor(scores, dtype=torch.float32).view(-1, 1), 0.5, kept).flatten().tolist()
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:kept]
    assert [i for i, stays in enumerate(found) if stays] == sorted(expected)


@given(
    st.integers(1, 3),
    st.integers(1, 11),
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from(["linear", "conv", "transposed"]),
    st.integers(0, 99),
)
def test_two_of_four(outputs: int, inputs: int, side: int, ties: bool, kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = {
        "linear": (outputs, inputs),
        "conv": (outputs, inputs, side, side),
        "transposed": (inputs, outputs, side, side),
    }[kind]
    scores = random.integers(0, 3, shape).astype(np.float32) if ties else random.random(shape, np.float32)
    axis = 0 if kind == "transposed" else 1
    found = mask(torch.from_numpy(scores), "2:4", 0, axis).numpy()
    expected = np.ones(shape, dtype=bool)
    rest = [range(n) for i, n in enumerate(shape) if i != axis]
    for where in itertools.product(*rest):
        for start in range(0, inputs - inputs % 4, 4):
            places = [(*where[:axis], start + k, *where[axis:]) for k in range(4)]
            for place in sorted(places, key=lambda p: (-scores[p], p[axis]))[2:]:
                expected[place] = False
    assert np.array_equal(found, expected)
    kernel = 1 if kind == "linear" else side * side
    part = Part("a", "conv", inputs, outputs, 1, kernel)
    assert found.sum() == nonzeros(part, Shape(inputs, outputs, 1), "2:4")
