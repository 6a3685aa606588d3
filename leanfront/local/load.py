"""Loading of compressed modules from packed files."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from leanfront.core.compressors.artifact.packed_file import Artifact, read, restore
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.architectures import architecture
from leanfront.core.targets.forward import logits_whenever_named
from leanfront.core.targets.memory_format import allows_innermost, with_innermost
from leanfront.errors import ArtifactError, TargetError


def load(
    path: str | Path,
    target: Target | nn.Module | str | None = None,
    device: torch.device | str = "cpu",
    *,
    example_input: Tensor | None = None,
) -> nn.Module:
    """Load the compressed module of a packed file, ready to run.

    Args:
        path: path of the ``.safetensors`` file; nothing in it is executed.
        target: source of the architecture, whose own weights do not matter: a module, a target, or a reference such
            as ``file.py:function``. By default the built-in target that the file names. The file cannot name code of
            others, so that such code runs only if you pass it here.
        device: device of the module.
        example_input: a batch that a module given as `target` accepts; needed if channels are cut.

    Returns:
        A module in eval mode that computes in float32 with the stored weights, which take no gradients.

    Raises:
        ArtifactError: the file does not exist, is no artifact, is damaged, or has another architecture.
        TargetError: the architecture is not built in, or cannot be used.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"the artifact '{path}' cannot be read: {error.strerror or error}") from error
    artifact = read(content)
    model, example = _network(artifact, target, example_input)
    module = restore(artifact, model, example)
    if model is target:
        # Those of a target return the logits alone already, as `Candidate.module` does.
        module = logits_whenever_named(module)
    # Convolutions run faster with channels innermost in memory, and some models break.
    innermost = example is not None and allows_innermost(module, example)
    return with_innermost(module, innermost).to(device)


def _network(
    artifact: Artifact, target: Target | nn.Module | str | None, example_input: Tensor | None
) -> tuple[nn.Module, Tensor | None]:
    """Return the dense architecture and an example input."""
    if isinstance(target, nn.Module):
        return target, example_input
    if isinstance(target, str):
        # A built-in target needs neither its data nor its weights here.
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
            f"the artifact is of {name}, whose network is not built in: pass the architecture as "
            "target='path/to/file.py:function', or as a module (with example_input=... where channels are cut)"
        )
    return built_in
