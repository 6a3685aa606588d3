"""Versions of the target's own model as they are stored: packed artifacts, and what they were made of."""

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
"""What layers store beside their parameters."""


@dataclass(frozen=True)
class Stored:
    """A version with its file: itself a version, whose module is made already.

    Args:
        version: whose.
        artifact: its file.
        compressed: on the CPU or the auditor's device, in eval mode.
        structure: of the dense model.
    """

    version: Version
    artifact: Artifact
    compressed: Compressed
    structure: Structure

    @property
    def name(self) -> str:
        """The version's."""
        return self.version.name

    @property
    def candidate(self) -> int | None:
        """The version's."""
        return self.version.candidate

    @property
    def key(self) -> str:
        """The version's: its answers are the same."""
        return self.version.key

    def module(self, member: Member) -> nn.Module:
        """What was made, on the member's device."""
        return self.compressed.module.to(member.compressor.device)

    @cached_property
    def entropy(self) -> ArtifactEntropy:
        """What its bytes hold."""
        return artifact_entropy(self.artifact, self.structure)

    @property
    def nonzero_parameters(self) -> int:
        """Parameters that are not 0: weights, biases, norms in inference form and whatever else is stored."""
        values = contents(self.artifact, self.structure)
        layers = tuple(f"{layer}." for layer in self.structure.layers)
        return sum(
            int((each != 0).sum())
            for name, each in values.items()
            if not (name.startswith(layers) and name.rpartition(":")[2] in NO_PARAMETERS)
        )


def stored(auditor: Auditor, version: Version) -> Stored:
    """A version with its file, kept or made now.

    Raises:
        UsageError: it was trained and no file is kept, or it is none that a configuration makes.
        CompressionError: it could not be made.
        ArtifactError: the file is damaged or another target's.
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
            f"{version.name} is no configuration of the target's own model: audit what versions cost with other "
            "levels"
        )
    if configuration.recovery:
        raise UsageError(f"{version.name} was trained after it was compressed, and its file is not kept")
    compressed = auditor.compressor.materialise(configuration)
    content = write(compressed, structure, auditor.target.name or "")
    return Stored(version, read(content), compressed, structure)
