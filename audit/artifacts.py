"""Versions of the target's own model as packed artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.entropy import ArtifactEntropy, artifact_entropy
from leanfront.core.audit.member import Member
from leanfront.core.audit.versions import Configured, Dense, Version
from leanfront.core.compressors import Compressed, Configuration, Structure, compressed_of
from leanfront.core.compressors.artifact.packed_file import Artifact, contents, read, write
from leanfront.errors import UsageError

NO_PARAMETERS = ("scale", "zero_point", "bitmap", "index", "pairs")
"""Entries that layers store besides their parameters."""


@dataclass(frozen=True)
class Stored:
    """A version with its packed file; itself a version, with its module at hand.

    Args:
        version: the version.
        artifact: its packed file.
        compressed: its module in eval mode, on the CPU or the auditor's device.
        structure: structure of the dense model.
    """

    version: Version
    artifact: Artifact
    compressed: Compressed
    structure: Structure

    @property
    def name(self) -> str:
        """Name of the version."""
        return self.version.name

    @property
    def candidate(self) -> int | None:
        """Candidate id of the version, if it is a candidate."""
        return self.version.candidate

    @property
    def key(self) -> str:
        """Key of the version, since its answers are the same."""
        return self.version.key

    def module(self, member: Member) -> nn.Module:
        """Return the module, on the member's device."""
        return self.compressed.module.to(member.compressor.device)

    @cached_property
    def entropy(self) -> ArtifactEntropy:
        """Sizes of its entries, as stored and under entropy codes."""
        return artifact_entropy(self.artifact, self.structure)

    @property
    def nonzero_parameters(self) -> int:
        """Number of stored parameters that are not 0: weights, biases, norms in inference form and others."""
        values = contents(self.artifact, self.structure)
        layers = tuple(f"{layer}." for layer in self.structure.layers)
        return sum(
            int((each != 0).sum())
            for name, each in values.items()
            if not (name.startswith(layers) and name.rpartition(":")[2] in NO_PARAMETERS)
        )


def stored(auditor: Auditor, version: Version) -> Stored:
    """Return a version with its packed file, which is made if none is kept.

    Raises:
        UsageError: the version was trained and its file is not kept, or no configuration makes it.
        CompressionError: the version could not be made.
        ArtifactError: the file is damaged or belongs to another target.
    """
    structure = auditor.structure
    if isinstance(version, Configured) and version.content is not None:
        artifact = read(version.content)
        return Stored(version, artifact, compressed_of(artifact, structure, auditor.target.model), structure)
    if isinstance(version, Configured):
        configuration = version.configuration
    elif isinstance(version, Dense):
        configuration = Configuration()
    else:
        raise UsageError(
            f"{version.name} is not a configuration of the target's own model, so it has no file: use other levels "
            "in this audit"
        )
    if configuration.recovery:
        raise UsageError(f"{version.name} was trained after it was compressed, and its file is not kept")
    compressed = auditor.compressor.materialise(configuration)
    content = write(compressed, structure, auditor.target.name or "")
    return Stored(version, read(content), compressed, structure)
