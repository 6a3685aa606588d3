"""The audit ``capacity``: how much a model can hold, and how much of that is used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from leanfront.core.audit.artifacts import Stored, stored
from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.description_length import TrainingSamples, describe, training_samples
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.kinds.capacity.effective_dimension import WIDTHS, effective_dimension, prior_alpha
from leanfront.core.audit.versions import Dense
from leanfront.core.compressors.statistics.outputs import batch_size
from leanfront.core.objectives.documents import plain
from leanfront.errors import EvaluationError, StoppedError

SAMPLES = 64
"""Largest number of training samples for a curvature, all in one graph."""
FEWEST_SAMPLES = 32
"""Least number of samples, if inputs are so large that a batch has fewer."""
CURVATURE = "ggn"


def audit_capacity(auditor: Auditor) -> Findings:
    """Compute non-zero parameters, effective dimension and description length of the dense model and each version."""
    samples = training_samples(auditor)
    alpha = prior_alpha(auditor.target.model, auditor.structure, samples.total)
    inputs, labels = _batch(auditor, samples)
    every = auditor.every
    found: dict[str, dict[str, Any]] = {}
    for number, version in enumerate(every):
        auditor.report("capacity", number, len(every))
        if auditor.stop():
            raise StoppedError
        own = stored(auditor, version)
        found[version.name] = _capacity(auditor, own, samples, inputs, labels, alpha)
    document = {
        "split": samples.split,
        "samples": len(inputs),
        "training": samples.to_json(),
        "curvature": CURVATURE,
        "alpha": alpha,
        "alpha_text": "the Gaussian prior as wide as the dense weights: P / (N sum w^2)",
        "multiples": list(WIDTHS),
        "seed": auditor.options.seed,
        "dense": found.pop(Dense().name),
    }
    return Findings(document, {each.name: entry(each, found[each.name]) for each in auditor.versions})


def _batch(auditor: Auditor, samples: TrainingSamples) -> tuple[Tensor, Tensor]:
    """Return some of the training samples, spread evenly, on the device."""
    most = min(SAMPLES, max(FEWEST_SAMPLES, batch_size(auditor.target.example_input)))
    count = min(most, len(samples.chosen))
    positions = torch.linspace(0, len(samples.chosen) - 1, count).round().long()
    inputs, labels = samples.chosen.subset(positions).tensors()
    return inputs.to(auditor.device), labels.to(auditor.device)


def _capacity(
    auditor: Auditor, own: Stored, samples: TrainingSamples, inputs: Tensor, labels: Tensor, alpha: float
) -> dict[str, Any]:
    said, top1 = describe(auditor, own, samples)
    return {
        "nonzero_parameters": own.nonzero_parameters,
        "memory_bytes": own.artifact.memory_bytes,
        "effective_dimension": _dimension(auditor, own, inputs, labels, alpha),
        "description": said.to_json(),
        "training_top1": top1,
    }


def _dimension(auditor: Auditor, own: Stored, inputs: Tensor, labels: Tensor, alpha: float) -> dict[str, Any]:
    """Return the effective dimension of a version, or the reason why it has none."""
    try:
        found = effective_dimension(
            auditor.module(own),
            auditor.structure,
            inputs,
            labels,
            alpha,
            curvature=CURVATURE,
            seed=auditor.options.seed,
        )
    except EvaluationError as error:
        return {"value": None, "reason": str(error)}
    said: dict[str, Any] = plain(found)
    return said
