"""Versions: compressed models that are compared with the dense model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from leanfront.core.audit.gradual import SHARES, GradualPruning
from leanfront.core.audit.member import Member
from leanfront.core.compressors import PRESETS, Configuration, Structure
from leanfront.core.compressors.artifact.packed_file import read, restore
from leanfront.core.compressors.statistics.batch_norm import reestimate
from leanfront.core.compressors.statistics.calibration import Calibration
from leanfront.core.compressors.structure.norm_form import restate
from leanfront.core.compressors.structure.norms import BATCH_NORMS
from leanfront.core.search import Candidate
from leanfront.core.targets.memory_format import with_innermost
from leanfront.errors import UsageError

DENSE_NAME = "dense"


class Version(Protocol):
    """A way to compress, applied to every model of a population."""

    @property
    def name(self) -> str:
        """Name for readers, unique in an audit."""
        ...

    @property
    def candidate(self) -> int | None:
        """Id of the candidate, or None if the version is not a candidate."""
        ...

    @property
    def key(self) -> str:
        """Cache key: everything that its models depend on, apart from the member."""
        ...

    def module(self, member: Member) -> nn.Module:
        """Make the version of a member's model, in eval mode on the member's device."""
        ...


@dataclass(frozen=True)
class Dense:
    """The dense model."""

    name: str = DENSE_NAME
    candidate: int | None = None
    key: str = DENSE_NAME

    def module(self, member: Member) -> nn.Module:
        """Return a copy of the member's model."""
        return member.compressor.materialise(Configuration()).module


@dataclass(frozen=True)
class Configured:
    """A version made by a configuration.

    Args:
        name: name for readers.
        configuration: configuration of a candidate or of a level.
        candidate: id of the candidate, if it is one.
        content: packed file of the candidate, if one is kept. For the target's own model the file is audited; a
            trained candidate cannot be made without it.
    """

    name: str
    configuration: Configuration
    candidate: int | None = None
    content: bytes | None = None

    @property
    def key(self) -> str:
        """Digests of the configuration and of the file."""
        file = "" if self.content is None else hashlib.sha256(self.content).hexdigest()
        return f"{self.configuration.digest}/{file}"

    def module(self, member: Member) -> nn.Module:
        """Restore the module from the file, for the target's own model, or make it from the member's model.

        Raises:
            UsageError: the candidate was trained after compression and cannot be made for this member.
        """
        if self.content is not None and member.index is None:
            return self._restored(member)
        if not self.configuration.recovery:
            return member.compressor.materialise(self.configuration).module
        if self.content is None or member.population == "trained":
            raise UsageError(
                f"{self.name} was trained after it was compressed: audit it with the population 'recalibrated', "
                "which needs its stored file"
            )
        module = self._restored(member)
        norms = member.base.model.named_modules()
        eps = {name: norm.eps for name, norm in norms if isinstance(norm, BATCH_NORMS)}
        # Norms in a file hold no statistics: they first get those of all samples.
        restate(module, Calibration(member.base, member.samples, member.device).batches, eps)
        reestimate(module, member.compressor.context.calibration.batches)
        return module

    def _restored(self, member: Member) -> nn.Module:
        assert self.content is not None
        target = member.target
        module = restore(read(self.content), target.model, target.example_input).to(member.compressor.device)
        return with_innermost(module, target.channels_last)


@dataclass(frozen=True)
class Gradual:
    """Magnitude pruning during training.

    Args:
        share: share of the weights that are zero at the end.
    """

    share: float

    @property
    def name(self) -> str:
        """``gradual-0.9``."""
        return f"gradual-{self.share:g}"

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    @property
    def candidate(self) -> None:
        """None: it is not a candidate."""
        return None

    def module(self, member: Member) -> nn.Module:
        """Train the model from scratch with the member's seed.

        Raises:
            UsageError: the member is not of a trained population.
        """
        if member.population != "trained":
            raise UsageError("gradual pruning trains: audit it with the population 'trained'")
        pruning = GradualPruning(self.share)
        model = member.base.retrained(member.seed, step=pruning, key=f"{self.name}/{pruning.key}")
        return model.to(member.compressor.device)


def of_candidate(candidate: Candidate, content: bytes | None) -> Configured:
    """Turn a stored candidate into a version."""
    return Configured(f"candidate {candidate.id}", candidate.configuration, candidate.id, content)


def magnitude_pruned(structure: Structure) -> list[Version]:
    """Return the versions of unstructured magnitude pruning after training."""
    return [
        Configured(
            f"magnitude-{share:g}",
            Configuration(sparsity=dict.fromkeys(structure.layers, share), criterion="l1"),
        )
        for share in SHARES
    ]


def gradually_pruned(structure: Structure) -> list[Version]:
    """Return the versions of unstructured magnitude pruning during training."""
    return [Gradual(share) for share in SHARES]


def quantised(structure: Structure) -> list[Version]:
    """Return the versions of the presets."""
    return [Configured(name, make(structure)) for name, make in PRESETS.items()]
