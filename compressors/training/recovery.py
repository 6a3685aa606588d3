"""Recovery: a compressed module learns from the dense model, on training data, in the form in which it is stored.

After every epoch the validation accuracy of the weights and of their moving average is measured, exactly as a
search measures a candidate. The best of all is returned, or the given module if none is better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from leanfront.core.compressors.compressor import Compressed, Compressor
from leanfront.core.compressors.recovery_settings import Recovery
from leanfront.core.compressors.training.loop import Training
from leanfront.core.compressors.training.progress import Epoch, Progress
from leanfront.errors import CompressionError, UsageError


@dataclass(frozen=True)
class Recovered:
    """Result of a recovery.

    Args:
        compressed: the best model, or the given one, unchanged, if none was better. Its configuration says how it
            was trained.
        before: validation accuracy of the given model.
        after: validation accuracy of `compressed`.
        best_epoch: epoch of the best model, from 1; 0 if none was better.
        history: the measured epochs, those of earlier runs included.
        ended: why the training ended: ``epochs`` (all done), ``steps`` (the number in the settings is done),
            ``patience`` (no more gain), ``time``, or ``stopped`` (on request).
    """

    compressed: Compressed
    before: float
    after: float
    best_epoch: int
    history: tuple[Epoch, ...]
    ended: str

    @property
    def improved(self) -> bool:
        """Whether any epoch was better than the given model."""
        return self.best_epoch > 0


@torch.inference_mode(False)
def recover(
    compressor: Compressor,
    compressed: Compressed,
    settings: Recovery,
    *,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    seconds: float | None = None,
) -> Recovered:
    """Train a compressed module on its target's training split.

    Args:
        compressor: compressor of the target, on the training device.
        compressed: the model to train, as made by the compressor or `compressed_of`, not folded; it is not changed.
        settings: settings of the training.
        checkpoint: file that holds the state of the training, written after every epoch and when it is stopped. A
            call with the same target, configuration and settings continues from it. The caller removes it.
        report: function called after every step.
        stop: function called after every step; if it returns True, the training ends with the best epoch so far.
        seconds: time limit, measurements and earlier runs of a resumed training included; the steps done until then
            are measured and count.

    Raises:
        CompressionError: there is no training split, nothing to recover, or the training failed.
        UsageError: the optimiser is unknown, or `seconds` is not positive.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"recovery: seconds must be positive, not {seconds!r}")
    if compressed.configuration.is_dense:
        raise CompressionError("the configuration changes nothing: there is nothing to recover")
    training = Training(compressor, compressed, settings, checkpoint)
    devices = [training.device] if training.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        ended = training.run(report, stop, seconds)
    return Recovered(
        training.best_compressed(ended),
        training.before,
        training.best,
        training.best_epoch,
        tuple(training.history),
        ended,
    )
