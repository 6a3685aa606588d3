"""Compressed versions of a model: what is compared with the dense one."""

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
from leanfront.core.compressors.structure.modules import BATCH_NORMS
from leanfront.core.compressors.structure.norm_form import restate
from leanfront.core.search import Candidate
from leanfront.errors import UsageError

DENSE_NAME = "dense"


class Version(Protocol):
    """A way to compress that is applied to every model of a population."""

    @property
    def name(self) -> str:
        """For people; unique in an audit."""
        ...

    @property
    def candidate(self) -> int | None:
        """The id of the candidate that it is, if it is one."""
        ...

    @property
    def key(self) -> str:
        """Says all that its models depend on beside the member: what is kept of them is kept under it."""
        ...

    def module(self, member: Member) -> nn.Module:
        """The version of a member's model, in eval mode on the member's device."""
        ...


@dataclass(frozen=True)
class Dense:
    """The model as it is."""

    name: str = DENSE_NAME
    candidate: int | None = None
    key: str = DENSE_NAME

    def module(self, member: Member) -> nn.Module:
        """A copy of the member's model."""
        return member.compressor.materialise(Configuration()).module


@dataclass(frozen=True)
class Configured:
    """What a configuration makes of a model.

    Args:
        name: for people.
        configuration: of a candidate or of a level.
        candidate: its id.
        content: the candidate's packed file, where one is kept: of the target's own model it is what is audited,
            and of a trained candidate all that there is.
    """

    name: str
    configuration: Configuration
    candidate: int | None = None
    content: bytes | None = None

    @property
    def key(self) -> str:
        """Of the configuration, and of the file."""
        file = "" if self.content is None else hashlib.sha256(self.content).hexdigest()
        return f"{self.configuration.digest}/{file}"

    def module(self, member: Member) -> nn.Module:
        """From the file of the target's own model, or made anew of the member's.

        Raises:
            UsageError: it was trained on, and there is nothing to do with it for this member.
        """
        if self.content is not None and member.index is None:
            return self._restored(member)
        if not self.configuration.recovery:
            return member.compressor.materialise(self.configuration).module
        if self.content is None or member.population == "trained":
            raise UsageError(
                f"{self.name} was trained after it was compressed: audit it with the population 'recalibrated', "
                "where its file is kept"
            )
        module = self._restored(member)
        norms = member.base.model.named_modules()
        eps = {name: norm.eps for name, norm in norms if isinstance(norm, BATCH_NORMS)}
        # The norms of a file hold no statistics: first they get those of all samples.
        restate(module, Calibration(member.base, member.samples, member.device).batches, eps)
        reestimate(module, member.compressor.context.calibration.batches)
        return module

    def _restored(self, member: Member) -> nn.Module:
        assert self.content is not None
        target = member.target
        return restore(read(self.content), target.model, target.example_input).to(member.compressor.device)


@dataclass(frozen=True)
class Gradual:
    """Pruned by magnitude while it is trained.

    Args:
        share: of the weights that are zero at the end.
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
        """It is none."""
        return None

    def module(self, member: Member) -> nn.Module:
        """Trained from scratch with the member's seed.

        Raises:
            UsageError: the member is none of a trained population.
        """
        if member.population != "trained":
            raise UsageError("gradual pruning trains: audit it with the population 'trained'")
        pruning = GradualPruning(self.share)
        model = member.base.retrained(member.seed, step=pruning, key=f"{self.name}/{pruning.key}")
        return model.to(member.compressor.device)


def of_candidate(candidate: Candidate, content: bytes | None) -> Configured:
    """A stored candidate as a version."""
    return Configured(f"candidate {candidate.id}", candidate.configuration, candidate.id, content)


def magnitude_pruned(structure: Structure) -> list[Version]:
    """Unstructured magnitude pruning after training."""
    return [
        Configured(
            f"magnitude-{share:g}",
            Configuration(sparsity=dict.fromkeys(structure.layers, share), criterion="l1"),
        )
        for share in SHARES
    ]


def gradually_pruned(structure: Structure) -> list[Version]:
    """Unstructured magnitude pruning while training."""
    return [Gradual(share) for share in SHARES]


def quantised(structure: Structure) -> list[Version]:
    """The presets."""
    return [Configured(name, make(structure)) for name, make in PRESETS.items()]
