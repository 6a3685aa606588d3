"""Loading of weights from a file into a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from leanfront.core.targets.weights_file import read_content
from leanfront.errors import TargetError

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the state dict next to other state."""
PREFIX = "module."
"""Prefix that DataParallel adds to every name."""
LISTED = 8
"""Largest number of names of one kind in a message; the rest is counted."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict without executing code from the file.

    Args:
        path: a ``.safetensors`` file, or a state dict written by ``torch.save``. It may be wrapped in a dict under
            one of `WRAPPERS`, and names may have DataParallel's prefix.

    Returns:
        Parameter or buffer name -> tensor on the CPU.

    Raises:
        TargetError: the file does not exist, cannot be read as weights, or holds no state dict.
    """
    content = read_content(Path(path))
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not any(isinstance(v, Tensor) for v in content.values()):
        found = f"keys {_some(map(str, content))}" if isinstance(content, Mapping) else type(content).__name__
        raise TargetError(f"weights: '{path}' holds no state dict but {found}")
    state = {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    if all(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    return state


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load weights from a file into a model; see `read_state` for the formats.

    ``num_batches_tracked`` of batch norms may be missing, as in files from old PyTorch releases.

    Raises:
        TargetError: the file cannot be read, or names or shapes do not fit; the message lists them.
    """
    state = read_state(path)
    own = model.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} {tuple(state[name].shape)} where the model has {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        f"{what} ({len(names)}): {_some(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("wrong shape", shapes))
        if names
    ]
    if problems:
        raise TargetError(
            f"weights: '{path}' does not fit {type(model).__name__}: {'; '.join(problems)}. "
            "Give weights of this very architecture and number of classes"
        )
    model.load_state_dict(state, strict=False)


def _some(names: Any) -> str:
    names = list(names)
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest
