"""Evaluations: whole ones, and those that race."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from leanfront.core.compressors import Compressor, Configuration, Structure
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.objectives import METRICS
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.racing import Race, chunks, pack, permutation, unpack
from leanfront.core.targets import Split, Target, resolve

HARSH = Configuration(
    channels={"conv1": 2, "conv3": 3}, weight_bits={"conv1": 2, "conv2": 2, "conv3": 2, "linear": 2}
)
MILD = Configuration(weight_bits={"conv1": 8, "conv2": 8, "conv3": 8, "linear": 8})


@pytest.fixture(scope="module")
def structure(tiny: Target) -> Structure:
    return derive(tiny.model, tiny.example_input)


@pytest.fixture(scope="module")
def evaluator(wide: Target, structure: Structure) -> Evaluator:
    return Evaluator(wide, structure)


def _value(evaluation: Evaluation, name: str) -> float:
    return next(m.value for m in evaluation.measurements if m.name == name)


def test_a_whole_evaluation_says_which_samples_are_right(evaluator: Evaluator, wide: Target) -> None:
    evaluation = evaluator.evaluate(HARSH)
    inputs, labels = wide.validation.tensors()
    module = evaluator.compressor.materialise(HARSH).module
    with torch.inference_mode():
        right = (module(inputs).argmax(1) == labels).numpy()
    assert evaluation.correct is not None
    assert np.array_equal(unpack(evaluation.correct, 2000), right)
    assert _value(evaluation, "accuracy") == pytest.approx(right.mean())
    assert (evaluation.stopped, evaluation.samples, evaluation.total) == (False, 2000, 2000)
    assert evaluator.evaluate(HARSH, "test").samples == 120


def test_a_lost_race_stops(evaluator: Evaluator) -> None:
    dense, whole = evaluator.evaluate(Configuration()), evaluator.evaluate(HARSH)
    assert dense.correct is not None
    assert whole.correct is not None
    assert _value(whole, "accuracy") < _value(dense, "accuracy") - 0.1
    evaluation = evaluator.evaluate(HARSH, race=Race(dense.correct, 0.05))
    assert evaluation.stopped
    assert evaluation.reason is evaluation.correct is None
    assert evaluation.samples in {chunk.stop for chunk in chunks(2000)}
    assert evaluation.samples < 1000
    assert evaluation.total == 2000
    assert evaluation.kept == whole.kept
    seen = permutation(HARSH.digest, 2000)[: evaluation.samples]
    mine, theirs = unpack(whole.correct, 2000), unpack(dense.correct, 2000)
    accuracy = next(m for m in evaluation.measurements if m.name == "accuracy")
    assert accuracy.value == pytest.approx(theirs.mean() + mine[seen].mean() - theirs[seen].mean())
    assert (accuracy.low, accuracy.high, accuracy.count) == (None, None, evaluation.samples)
    # What needs the dense model's answers besides is not measured on one that lost.
    alone = {m.name for m in whole.measurements if not METRICS[m.name].needs}
    assert {m.name for m in evaluation.measurements} == alone
    assert {m.count for m in evaluation.measurements} == {evaluation.samples}
    assert evaluator.evaluate(HARSH, race=Race(dense.correct, 0.05)).measurements == evaluation.measurements


def test_a_race_that_is_not_lost_gives_what_no_race_gives(evaluator: Evaluator) -> None:
    harsh, whole = evaluator.evaluate(HARSH), evaluator.evaluate(MILD)
    assert harsh.correct is not None
    raced = evaluator.evaluate(MILD, race=Race(harsh.correct, 0.05))
    assert (raced.stopped, raced.samples, raced.correct) == (False, 2000, whole.correct)
    for mine, theirs in zip(raced.measurements, whole.measurements, strict=True):
        assert mine.value == pytest.approx(theirs.value, rel=1e-6)
        assert (mine.low, mine.count) == (pytest.approx(theirs.low), theirs.count)


class _Files(Dataset[tuple[torch.Tensor, int]]):
    """Samples that are read one by one."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self.inputs, self.labels = inputs, labels
        self.reads = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        return self.inputs[index], int(self.labels[index])


def test_a_split_too_large_for_memory_is_read_as_far_as_the_race_goes(
    evaluator: Evaluator, wide: Target, tiny: Target, structure: Structure
) -> None:
    files = _Files(*wide.validation.tensors())
    target = Target(
        model=tiny.model,
        example_input=tiny.example_input,
        calibration=tiny.calibration,
        validation=Split.of("validation", files, cache=False),
        classes=tiny.classes,
    )
    other = Evaluator(target, structure)
    dense = evaluator.evaluate(Configuration()).correct
    assert dense is not None
    files.reads = 0
    evaluation = other.evaluate(HARSH, race=Race(dense, 0.05))
    assert evaluation.measurements == evaluator.evaluate(HARSH, race=Race(dense, 0.05)).measurements
    assert 0 < files.reads <= evaluation.samples


def test_what_goes_wrong_in_a_race_is_the_reason(evaluator: Evaluator, tiny_file: Path) -> None:
    short = evaluator.evaluate(MILD, race=Race(b"\xff", 0.05))
    assert "correctness of 2000 samples takes 250 bytes, not 1" in (short.reason or "")
    assert (short.samples, short.correct, short.stopped) == (0, None, False)
    breaks = resolve(f"{tiny_file}:breaks")
    broken = Evaluator(breaks, derive(breaks.model, breaks.example_input))
    race = Race(pack(np.ones(200, dtype=bool)), 0.05)
    reason = broken.evaluate(Configuration(channels={"conv3": 14}), race=race).reason
    assert "NaN" in (reason or "")


def test_the_module_is_the_compressors(evaluator: Evaluator, wide: Target, structure: Structure) -> None:
    again = Compressor(wide, structure=structure).materialise(MILD).module
    found = evaluator.evaluate(MILD).measurements
    for unfolded, measured in zip(evaluator.measure(again, "validation"), found, strict=True):
        assert unfolded.value == pytest.approx(measured.value, rel=1e-5, abs=1e-6)
    fold(again, evaluator.compressor.context.foldable)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in again.modules())
    assert evaluator.measure(again, "validation") == found
