"""The packed artifact: a compressed module as one file, which is read into the dense architecture.

It is a safetensors file; `layout.py` gives its length and the order of its bytes. It contains no names of modules:
these come from the architecture, whose weights do not matter. Nothing in it is ever unpickled or executed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.compressors.artifact.entries import Values, decode, encode, fill, gather
from leanfront.core.compressors.artifact.layout import CHECK, FORMAT, Layout, header, layout
from leanfront.core.compressors.compressor import Compressed
from leanfront.core.compressors.configuration import Configuration
from leanfront.core.compressors.derived_structure import skeleton_of
from leanfront.core.compressors.structure.derivation import skeleton
from leanfront.core.compressors.structure.slicing import cut
from leanfront.core.compressors.structure.structure import Structure
from leanfront.core.targets.model_copy import private_copy
from leanfront.errors import ArtifactError, CompressionError, ConfigurationError, TargetError

LONGEST_HEADER = 1 << 24
"""Maximum bytes of the header. A thousand layers need less than a hundredth of them."""


@dataclass(frozen=True)
class Artifact:
    """Contents of an artifact's file.

    Args:
        configuration: the canonical configuration.
        target: name of the compressed target, as the writer gave it.
        data: the data section.
    """

    configuration: Configuration
    target: str
    data: bytes

    @property
    def memory_bytes(self) -> int:
        """Length of the data section."""
        return len(self.data)

    @property
    def file_bytes(self) -> int:
        """Length of the whole file."""
        return 8 + len(header(self.configuration, self.target, len(self.data))) + len(self.data)

    @property
    def coded_bytes(self) -> int:
        """Length of the data section under a general entropy coder (LZMA2 without a container)."""
        return coded_bytes(self.data)


def write(compressed: Compressed, structure: Structure, target: str = "") -> bytes:
    """Return the artifact of a compressed module, `layout(...).file_bytes` long.

    Args:
        compressed: the compressed model as the compressor made it, neither folded nor trained since.
        structure: structure of the dense model.
        target: name written into the header; `load` finds built-in architectures by it.

    Raises:
        CompressionError: the module does not match its integers, masks and configuration.
    """
    configuration = structure.canonical(compressed.configuration)
    placed = layout(structure, configuration, target)
    if len(placed.header) > LONGEST_HEADER:
        raise CompressionError(f"the header takes {len(placed.header)} bytes, more than {LONGEST_HEADER}")
    values = gather(compressed, structure, {entry.name for entry in placed.entries})
    pieces = []
    for entry in placed.entries:
        piece = encode(entry, values[entry.name])
        if len(piece) != entry.length:
            raise CompressionError(
                f"'{entry.name}' takes {len(piece)} bytes where the layout has {entry.length}: the module is not "
                "of this structure and configuration"
            )
        pieces.append(piece)
    data = b"".join(pieces)
    head = header(configuration, target, len(data), checksum(configuration.canonical_text(), target, data))
    return struct.pack("<Q", len(head)) + head + data


def checksum(configuration: str, target: str, data: bytes) -> str:
    """Return the checksum of an artifact's parts, CHECK characters.

    It detects damage, not tampering, which can change the checksum as well. Against tampering, the SHA-256 of the
    whole file is kept with the candidate.
    """
    digest = hashlib.blake2b(digest_size=CHECK // 2, person=b"leanfront")
    for part in (configuration.encode(), target.encode(), data):
        digest.update(struct.pack("<Q", len(part)) + part)
    return digest.hexdigest()


def read(content: bytes) -> Artifact:
    """Read an artifact that `write` wrote; check every byte of the header, and length and checksum of the data.

    Whether the data section fits an architecture is checked by `contents` and `restore`.

    Raises:
        ArtifactError: the content is not an artifact, of another version, truncated, or changed.
    """
    if len(content) < 8:
        raise ArtifactError(f"not an artifact: {len(content)} bytes are too few")
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(LONGEST_HEADER, len(content) - 8):
        raise ArtifactError(
            f"not an artifact, or truncated: its header would take {length} of the file's {len(content)} bytes"
        )
    raw = content[8 : 8 + length]
    metadata, size = _metadata(raw)
    data = content[8 + length :]
    if len(data) != size:
        raise ArtifactError(
            f"the artifact is damaged: {len(data)} bytes of data where its header says {size}"
        )
    try:
        configuration = Configuration.from_json(metadata["configuration"])
        expected = header(configuration, metadata["target"], size, metadata["check"])
    except (ConfigurationError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"the artifact's header cannot be read: {_brief(error)}") from None
    if expected != raw:
        raise ArtifactError("the artifact's header is not as leanfront writes it: it has been changed")
    if checksum(metadata["configuration"], metadata["target"], data) != metadata["check"]:
        raise ArtifactError("the artifact is damaged: its checksum is not that of its bytes")
    return Artifact(configuration, metadata["target"], data)


def _metadata(raw: bytes) -> tuple[dict[str, str], int]:
    """Return the header's metadata, and the length of the data section that it gives."""
    try:
        fields = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"not an artifact: its header is not JSON ({_brief(error)})") from None
    metadata = fields.get("__metadata__") if isinstance(fields, Mapping) else None
    version = metadata.get("format") if isinstance(metadata, Mapping) else None
    if version != FORMAT:
        found = "it names no format" if version is None else f"its format is {_brief(version)}"
        raise ArtifactError(f"not an artifact that this release reads: {found}, not '{FORMAT}'")
    assert isinstance(metadata, dict)
    for key in ("target", "configuration", "check"):
        if not isinstance(metadata.get(key), str):
            raise ArtifactError(f"the artifact's header has no text '{key}'")
    tensor: Any = fields.get("data")
    offsets = tensor.get("data_offsets") if isinstance(tensor, Mapping) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or type(offsets[1]) is not int:
        raise ArtifactError("the artifact's header does not say where its data are")
    return metadata, offsets[1]


def _brief(problem: object) -> str:
    """Return the beginning of a message, which may quote a hostile file."""
    text = str(problem)
    return text if len(text) <= 200 else text[:200] + " ..."


def contents(artifact: Artifact, structure: Structure) -> Values:
    """Return the values of every entry by name: integers of the weights, scales, masks, biases and so on.

    Args:
        artifact: the artifact.
        structure: structure of the dense architecture.

    Raises:
        ArtifactError: the artifact is damaged or of another architecture.
    """
    placed = _placed(artifact, structure)
    data, values = memoryview(artifact.data), {}
    for entry in placed.entries:
        try:
            values[entry.name] = decode(entry, data)
        except ValueError as error:
            raise ArtifactError(f"the artifact is damaged: '{entry.name}': {error}") from None
    return values


def _placed(artifact: Artifact, structure: Structure) -> Layout:
    try:
        canonical = structure.canonical(artifact.configuration)
        placed = layout(structure, canonical, artifact.target)
    except (ConfigurationError, ArithmeticError) as error:
        raise ArtifactError(f"{_of(artifact)} is of another architecture: {_brief(error)}") from None
    if canonical != artifact.configuration:
        raise ArtifactError(
            f"{_of(artifact)} is of another architecture: its configuration changes nothing here"
        )
    if placed.memory_bytes != artifact.memory_bytes:
        raise ArtifactError(
            f"{_of(artifact)} is of another architecture: it holds {artifact.memory_bytes} bytes where this one "
            f"takes {placed.memory_bytes} under the same configuration; is the number of classes the same?"
        )
    return placed


def _of(artifact: Artifact) -> str:
    return f"the artifact of '{_brief(artifact.target)}'" if artifact.target else "the artifact"


@torch.inference_mode(False)
@torch.no_grad()
def restore(
    artifact: Artifact,
    model: nn.Module,
    example_input: Tensor | None = None,
    structure: Structure | None = None,
) -> nn.Module:
    """Return a working module: the architecture, cut, with the artifact's weights.

    Integers are dequantised, and batch norms are in inference form, y = scale x + shift. Everything outside the
    state dict is the architecture's own.

    Args:
        artifact: the artifact.
        model: the dense architecture with any weights; it is not changed.
        example_input: a batch that the model accepts; needed if channels are cut, to find which are coupled.
        structure: structure of the dense architecture, if known; the example input is then not needed.

    Returns:
        A new float32 module on the CPU, in eval mode, without gradients.

    Raises:
        ArtifactError: the artifact is damaged or of another architecture.
        TargetError: the model does not run on the example input, or there is none and channels are cut.
    """
    configuration = artifact.configuration
    example = None
    if configuration.channels and structure is None:
        if example_input is None:
            raise TargetError(
                f"{_of(artifact)} has channels cut: give an example input of the model, to find which are coupled"
            )
        example = example_input.cpu()
    module = private_copy(model, example_input).requires_grad_(False)
    structure = structure or (skeleton(module, None) if example is None else skeleton_of(module, example))
    values = contents(artifact, structure)
    groups = [structure.groups[name] for name in configuration.channels]
    # It does not matter which units a group loses here, since the weights are replaced.
    gone = {group.name: range(configuration.channels[group.name], group.units) for group in groups}
    try:
        cut(module, groups, gone)
        module.requires_grad_(False)  # cut parameters are new ones
        fill(module, structure, configuration, values)
    except Exception as error:
        # The configuration may not fit the architecture.
        raise ArtifactError(
            f"{_of(artifact)} is damaged or of another architecture ({type(error).__name__}: {_brief(error)})"
        ) from error
    return module


def coded_bytes(data: bytes) -> int:
    """Return the bytes of a data section under LZMA2 at its strongest, without a container.

    Integers of few bits are packed, so that only repetitions of whole bytes are saved, most of them at 8 or 4 bits.
    """
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    return len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters))
