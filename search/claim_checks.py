"""Verification of a candidate's claims against its packed artifact alone."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from leanfront.core.compressors import Structure
from leanfront.core.compressors.artifact.entries import Values
from leanfront.core.compressors.artifact.packed_file import Artifact, contents, read, restore
from leanfront.core.compressors.quantisation.activations import detach
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.compressors.structure.modules import weight_of
from leanfront.core.cost_models import analyse, count_macs
from leanfront.core.cost_models.allocations import peak, watch
from leanfront.core.cost_models.profile import operations
from leanfront.core.objectives import METRICS as OBJECTIVES
from leanfront.core.objectives import Measurement
from leanfront.core.search.candidate import Candidate
from leanfront.core.search.evaluation import Evaluator
from leanfront.core.search.verification import Claim, Verification
from leanfront.core.targets.memory_format import with_innermost
from leanfront.errors import ArtifactError, EvaluationError, UsageError

FLIPS = 0.001
"""Share of a split's samples (at least one sample) by which a count of correct ones may differ. On the device that
measured them, none do: on ResNet-20 with float, 8-bit and 4-bit activations, none of 5,000 samples changes sides
between a race, whose batches have other samples, and a restored file, with one thread or two. Where sums are
rounded differently (as with batch norms that are not folded), activations may land on the next step; the count
then differs by up to 4 of 5,000."""
EVALUATED = ("validation", "test")
ROUNDING = "rounding"
"""Key in `Verification.unchecked` that says that a file was made again."""
RELATIVE = 1e-3
"""Relative difference allowed in a mean over a split, for the same reason."""


@dataclass(frozen=True)
class Restored:
    """An artifact with its restored module.

    Args:
        artifact: the artifact as read.
        file_bytes: length of the file.
        module: restored module on the CPU, not folded.
        example_input: (1, ...) example input on the CPU.
        structure: structure of the dense architecture.
    """

    artifact: Artifact
    file_bytes: int
    module: nn.Module
    example_input: Tensor
    structure: Structure

    @cached_property
    def macs(self) -> int:
        """fvcore's count of the module's MACs."""
        return count_macs(self.module, self.example_input)

    @cached_property
    def layers(self) -> Mapping[str, int]:
        """fvcore's MACs by layer."""
        found: dict[str, int] = {}
        for (path, _), count in operations(analyse(self.module, self.example_input)).items():
            if path in self.structure.parts and self.structure.parts[path].is_layer:
                found[path] = found.get(path, 0) + count
        return found

    @cached_property
    def values(self) -> Values:
        """Stored values of the file, by entry."""
        return contents(self.artifact, self.structure)


def _bops(restored: Restored) -> float:
    own = restored.artifact.configuration
    return float(
        sum(
            count * own.weight_bits.get(layer, 32) * own.activation_bits.get(layer, 32)
            for layer, count in restored.layers.items()
        )
    )


def _sparse_macs(restored: Restored) -> float:
    skipped = 0.0
    for layer in restored.artifact.configuration.sparsity:
        if layer in restored.layers:
            weights = weight_of(restored.module.get_submodule(layer)).numel()
            values = restored.values
            stored = len(values.get(f"{layer}.weight:codes", values.get(f"{layer}.weight", ())))
            skipped += restored.layers[layer] * (weights - stored) / weights
    return float(round(restored.macs - skipped))


def _activation_memory_bytes(restored: Restored) -> float:
    # Quantisers would add storages of their own. The cost is of a float pass, scaled to the widest activations.
    module = copy.deepcopy(restored.module)
    for layer in restored.artifact.configuration.activation_bits:
        detach(module.get_submodule(layer))
    example = restored.example_input
    most = peak(watch(module, example)) + example.numel() * example.element_size()
    bits = restored.artifact.configuration.activation_bits
    widest = max((bits.get(layer, 32) for layer in restored.structure.layers), default=32)
    return float(round(most * widest / 32))


COSTS: dict[str, Callable[[Restored], float]] = {
    "memory_bytes": lambda restored: float(restored.artifact.memory_bytes),
    "file_bytes": lambda restored: float(restored.file_bytes),
    "macs": lambda restored: float(restored.macs),
    "bops": _bops,
    "sparse_macs": _sparse_macs,
    "activation_memory_bytes": _activation_memory_bytes,
}
"""Costs that an artifact determines exactly: measurement name -> function that computes the value."""
OF_A_RUN = ("activation_memory_bytes",)
"""Costs that belong to a run rather than to a file: kernels may allocate other tensors than predicted, as the dense
model's were scaled. A difference is told, and refutes nothing."""


def _flips(samples: int) -> float:
    """Return how many of `samples` samples may change sides."""
    return max(1.0, math.floor(FLIPS * samples))


def _count(claimed: Measurement, labels: Tensor) -> float:
    samples = claimed.count or 1
    return _flips(samples) / samples + 1e-12


def _recall(claimed: Measurement, labels: Tensor) -> float:
    # All of them may belong to one class.
    counts = labels.bincount()
    return _flips(len(labels)) / int(counts[counts > 0].min()) + 1e-12


METRICS: dict[str, Callable[[Measurement, Tensor], float]] = {
    "accuracy": _count,
    "top5_accuracy": _count,
    "cross_entropy": lambda claimed, labels: RELATIVE * max(abs(claimed.value), RELATIVE),
    # A sample that moves to another bin takes its confidence along.
    "ece": lambda claimed, labels: 2 * _count(claimed, labels),
    "worst_class_drop": _recall,
    "pie_rate": _count,
    "mce": lambda claimed, labels: 5 * FLIPS * max(1.0, abs(claimed.value)),
    "flip_rate": lambda claimed, labels: 2 * _count(claimed, labels),
}
"""Metrics with known rounding: function (claim, labels of the whole split) that returns the allowed difference."""


def verify(
    candidate: Candidate,
    evaluator: Evaluator,
    content: bytes,
    digest: str | None = None,
    *,
    remade: bool = False,
) -> Verification:
    """Check a candidate's claims against the content of its artifact.

    The artifact is read, restored on the dense architecture with all weights blanked, and evaluated as in the search:
    batch norms folded, the same batches, the whole of each split. Costs must be equal; counts of correct samples may
    differ by `FLIPS`, other metrics by `RELATIVE`.

    A file that was made again may hold other integers than were measured: another machine or number of threads adds
    in another order, and weights between two steps may be rounded to the other one. Its metrics may differ by the
    claimed interval, as between two runs of a search.

    Args:
        candidate: a complete or stopped candidate. The accuracy of a stopped one is an estimate, so no claim about a
            whole split is checked.
        evaluator: evaluator of its search's target.
        content: content of the packed artifact's file.
        digest: SHA-256 that the file is stored under.
        remade: whether the file was made again after the candidate had been measured.

    Raises:
        UsageError: the candidate failed or is not stored, so there are no claims.
    """
    if candidate.state == "failed" or candidate.id is None:
        raise UsageError(
            f"candidate {candidate.id} has nothing to verify: {candidate.reason or 'it is not stored'}"
        )
    claims = []
    if digest is not None:
        claims.append(Claim("sha256", digest, hashlib.sha256(content).hexdigest()))
    try:
        restored = _restored(content, evaluator)
    except ArtifactError as error:
        claims.append(Claim("artifact", "this candidate's", str(error)))
        return Verification(candidate.id, tuple(claims))
    own = restored.artifact.configuration
    claims.append(Claim("configuration", candidate.configuration.digest, own.digest))
    unchecked: dict[str, str] = {}
    claims += _costs(candidate, restored, unchecked)
    module = with_innermost(restored.module, evaluator.target.channels_last)
    claims += _metrics(candidate, module, evaluator, remade, unchecked)
    if remade:
        unchecked[ROUNDING] = "the file was made anew: metrics may differ by their intervals"
    return Verification(candidate.id, tuple(claims), unchecked)


def _restored(content: bytes, evaluator: Evaluator) -> Restored:
    target = evaluator.target
    artifact = read(content)
    blank = copy.deepcopy(target.model)
    with torch.no_grad():
        for tensor in blank.state_dict().values():
            # Weights missing from the file must not come from the dense model: they show as NaN.
            if tensor.is_floating_point():
                tensor.fill_(math.nan)
    # Found on the dense model: without weights, a model that branches on data may go another way.
    structure = evaluator.compressor.structure
    module = restore(artifact, blank, structure=structure)
    return Restored(artifact, len(content), module, target.example_input, structure)


def _costs(candidate: Candidate, restored: Restored, unchecked: dict[str, str]) -> Iterator[Claim]:
    for claimed in candidate.measurements:
        if claimed.split:
            continue
        if claimed.name not in COSTS or math.isnan(claimed.value):
            unchecked[claimed.name] = "an artifact does not tell it"
            continue
        try:
            found = COSTS[claimed.name](restored)
        except EvaluationError as error:
            unchecked[claimed.name] = str(error)
            continue
        claim = Claim(claimed.name, claimed.value, found, unit=claimed.unit)
        if claimed.name in OF_A_RUN and not claim.ok:
            unchecked[claimed.name] = (
                f"predicted {claimed.value:,.0f} {claimed.unit}, and a run of the file takes {found:,.0f}"
            )
            continue
        yield claim


def _metrics(
    candidate: Candidate,
    module: nn.Module,
    evaluator: Evaluator,
    remade: bool,
    unchecked: dict[str, str],
) -> Iterator[Claim]:
    folded = module.to(evaluator.device)
    fold(folded, evaluator.compressor.context.foldable)
    for split in dict.fromkeys(each.split for each in candidate.measurements if each.split):
        own = [each for each in candidate.measurements if each.split == split]
        data = evaluator.target.splits.get(split) if split in EVALUATED else None
        # Metrics of a view are measured on samples of their own.
        plain = [each for each in own if each.name not in OBJECTIVES or OBJECTIVES[each.name].always]
        if data is None or any(each.count != len(data) for each in plain):
            seen = plain[0].count if plain else None
            why = "the split is not at hand" if data is None else f"{seen} of {len(data)} samples were seen"
            unchecked |= {f"{each.name} ({split})": why for each in own}
            continue
        names = [each.name for each in own if each.name in METRICS and each.name in OBJECTIVES]
        try:
            found = {each.name: each.value for each in evaluator.measure(folded, split, names)}
        except EvaluationError:
            found = {}
        for each in own:
            if each.name not in METRICS or math.isnan(each.value):
                unchecked[f"{each.name} ({split})"] = "it is not known how far rounding may move it"
                continue
            tolerance = METRICS[each.name](each, data.labels)
            if remade and each.low is not None and each.high is not None:
                tolerance = max(tolerance, each.value - each.low, each.high - each.value)
            yield Claim(each.name, each.value, found.get(each.name), split, tolerance, each.unit)
