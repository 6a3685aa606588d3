"""What other processes need to evaluate like the driver, and how they tell that one of them is gone."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.objectives.metrics import metrics_of
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.targets import Target, resolve
from leanfront.errors import EvaluationError, LeanfrontError, TargetError


class EvaluatorLostError(EvaluationError):
    """The process that ran an evaluation is gone: nothing is known of the configuration, it may be tried again.

    Args:
        message: what happened, as the end of a sentence.
        tries: how often the evaluation had begun and was lost; 0 when it had not begun.
    """

    def __init__(self, message: str, tries: int = 1) -> None:
        super().__init__(message)
        self.tries = tries


@dataclass(frozen=True)
class Source:
    """What gives another process the same target.

    Args:
        target: its reference, or the pickled target when it has none.
        fingerprint: of it here; a process that gets another target refuses to work.
    """

    target: str | bytes
    fingerprint: str

    @classmethod
    def of(cls, target: Target) -> Source:
        """Of a target.

        Raises:
            TargetError: it has no reference and cannot be pickled.
        """
        if target.reference is not None:
            return cls(target.reference, target.fingerprint)
        try:
            return cls(pickle.dumps(target), target.fingerprint)
        except Exception as error:
            raise TargetError(
                f"this target cannot be sent to other processes ({error}); "
                "put the function that makes it into a file and name it as file.py:function, or use one worker"
            ) from error

    def open(self) -> Target:
        """The target.

        Raises:
            TargetError: it is another one here.
        """
        target = resolve(self.target) if isinstance(self.target, str) else pickle.loads(self.target)
        if target.fingerprint != self.fingerprint:
            raise TargetError(
                "the target came out different in another process: its function must return the same weights "
                "and the same splits every time (load weights from a file, seed what is drawn), or use one worker"
            )
        return target


@dataclass(frozen=True)
class EvaluatorSpec:
    """What a process needs to build its evaluator.

    Args:
        source: of the target.
        structure: derived once, by the driver.
        devices: one a process, taken in turn.
        samples: calibration samples.
        threads: torch threads a pool process may use.
        metrics: names of what is measured.
    """

    source: Source
    structure: Structure
    devices: tuple[str, ...]
    samples: int
    threads: int
    metrics: tuple[str, ...]

    def build(self, device: str) -> Evaluator:
        """The evaluator, on one of the devices.

        Raises:
            TargetError: the target is another one here.
        """
        return Evaluator(
            self.source.open(), self.structure, device=device, samples=self.samples, metrics=self.metrics
        )


def spec_of(
    target: Target,
    structure: Structure,
    device: str,
    samples: int,
    workers: int,
    metrics: Sequence[str] | None = None,
) -> EvaluatorSpec:
    """The specification for a target.

    Args:
        target: what is compressed.
        structure: the target model's.
        device: ``cpu``, ``cuda`` (all of this machine's) or ``cuda:N``; for a cluster also ``auto``, and ``cuda``
            means each worker's own.
        samples: calibration samples.
        workers: pool processes that share this machine's cores.
        metrics: as `Evaluator` takes them.

    Raises:
        TargetError: the target has no reference and cannot be pickled.
    """
    devices: tuple[str, ...] = (device,)
    if device == "cuda" and torch.cuda.device_count():
        devices = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    threads = max(1, (os.cpu_count() or 1) // workers)
    wanted = tuple(metrics_of() if metrics is None else metrics)
    return EvaluatorSpec(Source.of(target), structure, devices, samples, threads, wanted)


def share(evaluator: Evaluator, configuration: Configuration) -> None:
    """Derive here what evaluations like this one need, before other processes of this machine ask for it.

    They find it in the cache then: see `leanfront.core.compressors.statistics.derived`.

    Args:
        evaluator: the driver's.
        configuration: of the search's space, with its method and criterion.
    """
    with suppress(LeanfrontError):  # evaluating it would say so, as its candidate's reason
        evaluator.compressor.materialise(configuration)
