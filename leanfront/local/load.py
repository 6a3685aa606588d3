"""A working module from an artifact's file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from leanfront.core.compressors.artifact.packed_file import Artifact, read, restore
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.architectures import architecture
from leanfront.errors import ArtifactError, TargetError


def load(
    path: str | Path,
    target: Target | nn.Module | str | None = None,
    device: torch.device | str = "cpu",
    *,
    example_input: Tensor | None = None,
) -> nn.Module:
    """The compressed module that an artifact holds, ready to run.

    Args:
        path: of the ``.safetensors`` file; nothing in it is executed.
        target: where the architecture comes from; weights in it do not matter. A built-in one is found by the
            name in the file. Otherwise a module, a target, or a reference such as ``file.py:function``, which the
            file cannot name itself: code of others runs only where you say so.
        device: where the module is put.
        example_input: a batch that a module given as `target` accepts; needed where channels are cut.

    Returns:
        A module in eval mode that computes in float32 with the weights' own values and takes no gradients.

    Raises:
        ArtifactError: no such file, not an artifact, damaged, or of another architecture.
        TargetError: the architecture is not built in, or cannot be used.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"the artifact '{path}' cannot be read: {error.strerror or error}") from error
    artifact = read(content)
    model, example = _network(artifact, target, example_input)
    return restore(artifact, model, example).to(device)


def _network(
    artifact: Artifact, target: Target | nn.Module | str | None, example_input: Tensor | None
) -> tuple[nn.Module, Tensor | None]:
    """The dense architecture with an example input."""
    if isinstance(target, nn.Module):
        return target, example_input
    if isinstance(target, str):
        # Without its data and weights a built-in one does.
        built_in = architecture(target)
        if built_in is not None:
            return built_in
        target = resolve(target)
    if target is not None:
        return target.model, target.example_input
    built_in = architecture(artifact.target)
    if built_in is None:
        name = f"'{artifact.target[:200]}'" if artifact.target else "a target without a name"
        raise TargetError(
            f"the artifact is of {name}, which is not built in: pass the architecture as "
            "target='path/to/file.py:function', or as a module (with example_input=... where channels are cut)"
        )
    return built_in
