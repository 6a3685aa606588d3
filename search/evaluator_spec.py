"""Specification from which other processes build their evaluator, and the error for a lost process."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from leanfront.core.compressors import Configuration, Structure
from leanfront.core.objectives.metrics import metrics_of
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.differences import require_same
from leanfront.errors import EvaluationError, LeanfrontError, TargetError


class EvaluatorLostError(EvaluationError):
    """The process of an evaluation died: nothing is known about the configuration, which may be tried again.

    Args:
        message: description of what happened, as the end of a sentence.
        tries: number of times the evaluation had begun and was lost; 0 if it had not begun.
    """

    def __init__(self, message: str, tries: int = 1) -> None:
        super().__init__(message)
        self.tries = tries


@dataclass(frozen=True)
class Source:
    """Source from which another process loads the same target.

    Args:
        target: reference of the target, or the pickled target if it has none.
        fingerprint: fingerprint of the target; a process that loads another target refuses to work.
        digests: digests of its parts, for the message.
    """

    target: str | bytes
    fingerprint: str
    digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Target) -> Source:
        """Build the source of a target.

        Raises:
            TargetError: the target has no reference and cannot be pickled.
        """
        if target.reference is not None:
            return cls(target.reference, target.fingerprint, target.digests)
        try:
            return cls(pickle.dumps(target), target.fingerprint, target.digests)
        except Exception as error:
            raise TargetError(
                f"this target cannot be sent to other processes ({error}); "
                "put the function that makes it into a file and name it as file.py:function, or use one worker"
            ) from error

    def open(self) -> Target:
        """Load the target.

        Raises:
            TargetError: the loaded target differs from the original.
        """
        target = resolve(self.target) if isinstance(self.target, str) else pickle.loads(self.target)
        require_same(
            target,
            self.fingerprint,
            self.digests,
            lambda what: (
                f"the target came out different in another process{what and f': {what}'}; its function must return "
                "the same weights and the same splits every time (load weights from a file, seed what is drawn), or "
                "use one worker"
            ),
        )
        return target


@dataclass(frozen=True)
class EvaluatorSpec:
    """Specification of an evaluator for another process.

    Args:
        source: source of the target.
        structure: structure of its model, derived once by the driver.
        devices: devices, one per process, taken in turn.
        samples: number of calibration samples.
        threads: number of torch threads that a pool process may use.
        metrics: names of the metrics to measure.
    """

    source: Source
    structure: Structure
    devices: tuple[str, ...]
    samples: int
    threads: int
    metrics: tuple[str, ...]

    def build(self, device: str) -> Evaluator:
        """Build the evaluator on one of the devices.

        Raises:
            TargetError: the loaded target differs from the original.
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
    """Return the specification for a target.

    Args:
        target: target to compress.
        structure: structure of its model.
        device: ``cpu``, ``cuda`` (all devices of this machine) or ``cuda:N``. For a cluster also ``auto``, and
            ``cuda`` means each worker's own device.
        samples: number of calibration samples.
        workers: number of pool processes that share this machine's cores.
        metrics: names of metrics, as `Evaluator` takes them.

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
    """Compute here what evaluations like this one need, before other processes of this machine need it.

    They then find it in the cache; see `leanfront.core.compressors.statistics.derived`.

    Args:
        evaluator: evaluator of the driver.
        configuration: a configuration of the search's space, with its method and criterion.
    """
    with suppress(LeanfrontError):  # evaluating it would give this error as the candidate's reason
        evaluator.compressor.materialise(configuration)
