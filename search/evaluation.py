"""Evaluation of a configuration: build the module, run a split, measure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressed, Compressor, Configuration, Structure
from leanfront.core.compressors.artifact.packed_file import write
from leanfront.core.compressors.statistics.outputs import batch_size, correct, outputs
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.objectives import METRICS, Measurement, measure
from leanfront.core.objectives.metrics import DENSE, metrics_of
from leanfront.core.search.dense import DenseAnswers, require_split
from leanfront.core.search.racing import PairedTest, Race, chunks, pack, permutation, unpack
from leanfront.core.targets import Split, Target
from leanfront.core.targets.architectures import architecture_name
from leanfront.errors import EvaluationError, LeanfrontError


@dataclass(frozen=True)
class Evaluation:
    """Result of evaluating a configuration on a split.

    Args:
        measurements: metrics of the split; empty if it failed. For a stopped evaluation, metrics of the samples seen,
            except accuracy, which is the estimate `PairedTest.accuracy` without an interval.
        kept: kept indices of the cut channel groups.
        seconds: wall-clock seconds.
        reason: why it failed; None if it did not.
        stopped: whether the race was lost before the end of the split.
        samples: number of samples seen; 0 if it failed.
        total: number of samples of the split; 0 if it failed.
        correct: which samples of the split are classified correctly, in the split's order, packed by `racing.pack`;
            None if the split was not seen whole.
        artifact: packed file of the model measured on the validation split; None if it was stopped or cannot be
            packed. Another machine or number of threads rounds sums differently and would make another file.
    """

    measurements: tuple[Measurement, ...] = ()
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None
    stopped: bool = False
    samples: int = 0
    total: int = 0
    correct: bytes | None = None
    artifact: bytes | None = None


class Evaluator:
    """Evaluates configurations of one target in this process; holds model, calibration data and splits.

    Args:
        target: target to compress.
        structure: structure of the target's model.
        device: device on which modules run.
        samples: number of calibration samples for batch norm and activation ranges.
        metrics: names of the metrics to measure; by default those that need no evaluation of their own.
    """

    def __init__(
        self,
        target: Target,
        structure: Structure,
        *,
        device: torch.device | str = "cpu",
        samples: int = 512,
        metrics: Sequence[str] | None = None,
    ) -> None:
        self.target = target
        self.device = torch.device(device)
        self.compressor = Compressor(target, device=device, structure=structure, samples=samples)
        self.metrics = tuple(metrics_of() if metrics is None else metrics)
        self.dense = DenseAnswers(target, self._dense, self.device)

    def _dense(self) -> nn.Module:
        """Return the dense model, prepared as candidates are."""
        return self._folded(self.compressor.materialise(Configuration()).module)

    def _folded(self, module: nn.Module) -> nn.Module:
        fold(module, self.compressor.context.foldable)
        return module

    def evaluate(
        self, configuration: Configuration, split: str = "validation", race: Race | None = None
    ) -> Evaluation:
        """Evaluate a configuration; errors become the reason of the result, not an exception.

        Args:
            configuration: configuration to evaluate.
            split: ``validation`` or ``test``.
            race: race against an incumbent. The samples then come in the configuration's own order, and the
                evaluation stops as soon as the race is lost.
        """
        begin = time.perf_counter()
        try:
            compressed = self.compressor.materialise(configuration)
            artifact = self._packed(compressed) if split == "validation" else None
            self._folded(compressed.module)
            if race is None:
                evaluation = self._whole(compressed.module, split)
            else:
                evaluation = self._race(compressed.module, split, race, configuration.digest)
        except (LeanfrontError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
            # torch raises RuntimeError for bad shapes and lack of memory. The search continues without this
            # candidate.
            reason = f"{type(error).__name__}: {error}"
            return Evaluation(seconds=time.perf_counter() - begin, reason=reason[:2000])
        if evaluation.stopped:
            artifact = None
        seconds = time.perf_counter() - begin
        return replace(evaluation, kept=compressed.kept, seconds=seconds, artifact=artifact)

    def _packed(self, compressed: Compressed) -> bytes | None:
        # A model that cannot be written can still be measured.
        with suppress(LeanfrontError, RuntimeError, ValueError, ArithmeticError):
            return write(compressed, self.compressor.structure, architecture_name(self.target))
        return None

    def _whole(self, module: nn.Module, split: str) -> Evaluation:
        logits, labels = self.logits(module, split)
        _require_finite(logits, split)
        return self._seen_whole(module, logits, labels, split)

    def _seen_whole(self, module: nn.Module, logits: Tensor, labels: Tensor, split: str) -> Evaluation:
        """Build the result from the outputs for a whole split, in its order."""
        measurements = self._measured(self.metrics, module, logits, labels, split)
        right = pack(correct(logits, labels).numpy())
        return Evaluation(measurements, samples=len(labels), total=len(labels), correct=right)

    def _measured(
        self, names: Sequence[str], module: nn.Module, logits: Tensor, labels: Tensor, split: str
    ) -> tuple[Measurement, ...]:
        views = dict.fromkeys(view for name in names for view in METRICS[name].views)
        given: dict[str, Any] = {view: self.dense.answers(view, split, module, logits) for view in views}
        for answers in given.values():
            for found in answers.logits.values():
                _require_finite(found, split)
        if any(DENSE in METRICS[name].needs for name in names):
            given[DENSE] = self.dense.logits(split)
        return tuple(measure(names, logits, labels, split, given))

    def _race(self, module: nn.Module, split: str, race: Race, digest: str) -> Evaluation:
        data = require_split(self.target, split)
        order = permutation(digest, len(data))
        positions = torch.from_numpy(order)
        test = PairedTest(unpack(race.incumbent, len(data))[order], race.false_elimination)
        found, labels = [], []
        for chunk in chunks(len(data)):
            logits, truth = self._outputs(module, data.subset(positions[chunk.start : chunk.stop]))
            _require_finite(logits, split)
            found.append(logits)
            labels.append(truth)
            if test.update(correct(logits, truth).numpy()) and test.seen < len(data):
                measurements = self._estimates(test, torch.cat(found), torch.cat(labels), split)
                return Evaluation(measurements, stopped=True, samples=test.seen, total=len(data))
        back = positions.argsort()
        return self._seen_whole(module, torch.cat(found)[back], torch.cat(labels)[back], split)

    def _estimates(
        self, test: PairedTest, logits: Tensor, labels: Tensor, split: str
    ) -> tuple[Measurement, ...]:
        # Metrics that need more than these outputs are not worth their time for a candidate that lost.
        names = [name for name in self.metrics if not METRICS[name].needs]
        return tuple(
            replace(each, value=test.accuracy, low=None, high=None) if each.name == "accuracy" else each
            for each in measure(names, logits, labels, split)
        )

    def measure(
        self, module: nn.Module, split: str, names: Sequence[str] | None = None
    ) -> tuple[Measurement, ...]:
        """Measure a module on one of the target's splits.

        Args:
            module: module in eval mode, on the device, norms folded.
            split: ``validation`` or ``test``.
            names: names of metrics to measure instead of the evaluator's own.

        Raises:
            EvaluationError: the target has no such split, or an output is not finite.
        """
        logits, labels = self.logits(module, split)
        _require_finite(logits, split)
        return self._measured(self.metrics if names is None else names, module, logits, labels, split)

    def logits(self, module: nn.Module, split: str) -> tuple[Tensor, Tensor]:
        """Return outputs (n, classes) and labels (n,) of a whole split, on the CPU in float32."""
        return self._outputs(module, require_split(self.target, split))

    def _outputs(self, module: nn.Module, data: Split) -> tuple[Tensor, Tensor]:
        return outputs(module, data, batch_size(self.target.example_input), self.device)


def _require_finite(logits: Tensor, split: str) -> None:
    if not bool(logits.isfinite().all()):
        bad = int((~logits.isfinite().all(1)).sum())
        raise EvaluationError(f"the outputs of {bad} of {len(logits)} {split} samples are NaN or infinite")
