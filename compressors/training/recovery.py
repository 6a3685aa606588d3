"""Recovery: a compressed module learns from the dense one, on training data, in the form it is stored in.

After every epoch the validation accuracy of the weights and of their moving average is measured, exactly as a
search measures a candidate; the best of them all is what comes back, and never less than what went in.
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
    """What came of a recovery.

    Args:
        compressed: the best; what went in, unchanged, where nothing was better. Its configuration says how it was
            trained.
        before: validation accuracy of what went in.
        after: of what comes back.
        best_epoch: that it is of, from 1; 0 where nothing was better.
        history: the epochs that were measured, those of earlier runs included.
        ended: ``epochs`` (all done), ``steps`` (as many as the settings say), ``patience`` (no more gain),
            ``time``, or ``stopped`` (it was asked to).
    """

    compressed: Compressed
    before: float
    after: float
    best_epoch: int
    history: tuple[Epoch, ...]
    ended: str

    @property
    def improved(self) -> bool:
        """Whether anything was better than what went in."""
        return self.best_epoch > 0

    @property
    def stopped_early(self) -> bool:
        """Whether it ended before all its epochs were done."""
        return self.ended != "epochs"


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
        compressor: of the target, on the device that trains.
        compressed: as the compressor or `rebuild.compressed_of` gave it, not folded; it is not changed.
        settings: of the training.
        checkpoint: a file that says after every epoch, and when it is stopped, where the training stands. A call
            with the same target, configuration and settings goes on from it. Whoever is done with it removes it.
        report: told after every step.
        stop: asked after every step; once it says so the training ends with the best of the epochs measured so far.
        seconds: how long it may take, measurements and the time before a checkpoint included; what has been learnt
            by then is measured and counts.

    Raises:
        CompressionError: there is no training split, nothing to recover, or the training failed.
        UsageError: no such optimiser, or a time that is none.
    """
    if seconds is not None and not seconds > 0:
        raise UsageError(f"recovery: {seconds!r} seconds are no time to train in")
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
