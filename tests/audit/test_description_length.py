"""Description lengths of answers whose code lengths are known."""

from __future__ import annotations

import math

import pytest
import torch

from leanfront.core.audit.description_length import Described, described, label_bits, shortest, turns
from leanfront.errors import EvaluationError


def test_labels_cost_what_the_model_gives_them() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]]).log()
    assert label_bits(logits, torch.tensor([0, 2])).tolist() == pytest.approx([1, 3])
    found = described("v", 100, logits, torch.tensor([0, 2]), 10)
    assert found.data_bits == pytest.approx(20)  # 4 bits of 2 samples stand for 10
    assert found.baseline_bits == pytest.approx(10 * math.log2(3))
    assert found.total_bits == pytest.approx(120)
    assert found.to_json()["ratio"] == pytest.approx(120 / (10 * math.log2(3)))
    with pytest.raises(EvaluationError, match="NaN or infinite"):
        label_bits(logits * float("nan"), torch.tensor([0, 2]))


def test_an_ignorant_model_costs_the_baseline() -> None:
    found = described("v", 0, torch.zeros(7, 10), torch.arange(7), 7)
    assert found.ratio == pytest.approx(1)


def test_the_bottom_of_a_u() -> None:
    labels = torch.zeros(1, dtype=torch.int64)

    def at(bits: int) -> object:
        # Each bit less makes the model shorter by 100, and the labels dearer ever faster.
        return described(f"{bits}", 100 * bits, torch.tensor([[0.0, 4.0 ** (8 - bits)]]), labels, 1)

    found = {bits: at(bits) for bits in range(2, 9)}
    lengths = [each.total_bits for each in found.values()]
    least = shortest(found)
    assert least == 5
    assert lengths[0] > lengths[3] < lengths[-1]
    assert shortest({}) is None


def test_the_bottom_moves_with_the_number_of_samples() -> None:
    found = {2: (100, 50), 3: (200, 30), 4: (300, 29), 5: (400, 5), 6: (500, 6)}
    lengths = {bits: Described(f"{bits}", model, data, 1.0) for bits, (model, data) in found.items()}
    reached = turns(lengths, 10)
    assert [(turn.bits, turn.samples) for turn in reached] == [
        (2, 0),
        (3, pytest.approx(100 / 2.0)),
        (5, pytest.approx(200 / 2.5)),
    ]
    for samples in (1, 49, 51, 79, 81, 1000):
        best = min(found, key=lambda bits: found[bits][0] + samples * found[bits][1] / 10)
        assert best == [turn.bits for turn in reached if turn.samples <= samples][-1]
    assert turns({}, 10) == []
