"""Evaluate one configuration: build the module, run a split, measure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compressors import Compressor, Configuration, Structure
from compressors.compress import channels_last
from objectives import METRICS, Measurement, measure
from targets import Target
from targets.errors import EvaluationError, LeanfrontError

BATCH_ELEMENTS = 400_000
"""Input elements in one batch: 130 images of 32 x 32. Measured on ResNet-20: activations of larger batches
leave the cache and cost fresh pages, 512 images a batch are half as fast as 128."""
LARGEST_BATCH, SMALLEST_BATCH = 512, 8


@dataclass(frozen=True)
class Evaluation:
    """What came of evaluating a configuration on a split.

    Args:
        measurements: metrics of the split; empty when it failed.
        kept: resolved indices of the cut channel groups.
        seconds: wall-clock seconds.
        reason: why it failed; None when it did not.
    """

    measurements: tuple[Measurement, ...] = ()
    kept: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None


class Evaluator:
    """Evaluates configurations of one target in this process; holds model, calibration data and splits.

    Args:
        target: what is compressed.
        structure: the target model's.
        device: where modules run.
        samples: calibration samples for batch norm and activation ranges.
        metrics: names of the metrics to measure; all registered ones by default.
    """

    def __init__(
        self,
        target: Target,
        structure: Structure,
        *,
        device: torch.device | str = "cpu",
        samples: int = 512,
        metrics: Sequence[str] = tuple(METRICS),
    ) -> None:
        self.target = target
        self.device = torch.device(device)
        self.compressor = Compressor(target, device=device, structure=structure, samples=samples)
        self.metrics = tuple(metrics)

    def evaluate(self, configuration: Configuration, split: str = "validation") -> Evaluation:
        """Measure a configuration; whatever goes wrong with it is its reason, not an exception."""
        begin = time.perf_counter()
        try:
            compressed = self.compressor.materialise(configuration)
            measurements = self.measure(compressed.module, split)
        except (LeanfrontError, RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
            # RuntimeError is torch's: bad shapes, out of memory. The search goes on without this candidate.
            reason = f"{type(error).__name__}: {error}"
            return Evaluation(seconds=time.perf_counter() - begin, reason=reason[:2000])
        return Evaluation(measurements, compressed.kept, time.perf_counter() - begin)

    def measure(self, module: nn.Module, split: str) -> tuple[Measurement, ...]:
        """Measure a module on one of the target's splits.

        Raises:
            EvaluationError: the target has no such split, or an output is not finite.
        """
        logits, labels = self.logits(module, split)
        if not bool(logits.isfinite().all()):
            bad = int((~logits.isfinite().all(1)).sum())
            raise EvaluationError(
                f"the outputs of {bad} of {len(logits)} {split} samples are NaN or infinite"
            )
        return tuple(measure(self.metrics, logits, labels, split))

    def logits(self, module: nn.Module, split: str) -> tuple[Tensor, Tensor]:
        """Outputs (n, classes) and labels (n,) of a whole split, on the CPU in float32."""
        data = {"validation": self.target.validation, "test": self.target.test}.get(split)
        if data is None:
            raise EvaluationError(f"the target has no '{split}' split to measure on")
        outputs, labels = [], []
        size = batch_size(self.target.example_input)
        with torch.inference_mode():
            for inputs, truth in data.batches(size, self.device):
                outputs.append(module(channels_last(inputs)).float().cpu())
                labels.append(truth.cpu())
        return torch.cat(outputs), torch.cat(labels)


def batch_size(example_input: Tensor) -> int:
    """Samples a batch for inputs like the example."""
    return max(SMALLEST_BATCH, min(LARGEST_BATCH, BATCH_ELEMENTS // max(1, example_input[0].numel())))
