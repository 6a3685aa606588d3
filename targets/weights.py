"""Loading of weights from a file into a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from leanfront.core.targets.weights_file import read_content
from leanfront.core.targets.wrappers import unwrapped
from leanfront.errors import TargetError

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the state dict next to other state."""
PREFIXES = ("module", "_orig_mod", "model", "net")
"""Attributes under which wrappers hold a model, and so what their state dicts begin with: DataParallel and averaged
models, `torch.compile`, Lightning modules."""
INNER = ("module", "_orig_mod")
"""Those that wrappers of single layers put inside names."""
LISTED = 8
"""Largest number of names of one kind in a message; the rest is counted."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict without executing code from the file.

    Args:
        path: a ``.safetensors`` file, or a state dict written by ``torch.save``. It may be wrapped in a dict under
            one of `WRAPPERS`.

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
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load weights from a file into a model; see `read_state` for the formats.

    ``num_batches_tracked`` of batch norms may be missing, as in files from old PyTorch releases. Names may have the
    prefixes of wrappers (`PREFIXES`), nested ones too; the names outside such a prefix, as of a Lightning module's
    loss, are then left out. The model may be wrapped itself.

    Raises:
        TargetError: the file cannot be read, names or shapes do not fit (the message lists them), or it holds several
            models that fit.
    """
    model = unwrapped(model)
    own = model.state_dict()
    state = _without_prefixes(read_state(path), own, path)
    missing = [name for name in own if name not in state and not _may_miss(name)]
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


def _without_prefixes(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path
) -> dict[str, Tensor]:
    """Return the state dict with the names that a model has, or the closest to them."""
    if _fits(state, own):
        return dict(state)
    candidates = {"": dict(state), **_under_prefixes(state)}
    for offered in candidates, {prefix: _without_inner(held) for prefix, held in candidates.items()}:
        fitting = {prefix: held for prefix, held in offered.items() if _fits(held, own)}
        if len({frozenset(map(id, held.values())) for held in fitting.values()}) > 1:
            raise TargetError(
                f"weights: '{path}' holds {len(fitting)} models that fit, under {_some(sorted(fitting))}; save the "
                "state dict of the one you mean alone"
            )
        if fitting:
            return next(iter(fitting.values()))
    return max(candidates.values(), key=lambda held: len(held.keys() & own.keys()))


def _fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return bool(state) and all(
        state[name].shape == tensor.shape if name in state else _may_miss(name)
        for name, tensor in own.items()
    )


def _under_prefixes(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the parts of a state dict under each chain of prefixes: ``model._orig_mod.`` -> names and tensors."""
    found: dict[str, dict[str, Tensor]] = {}
    waiting = [("", dict(state))]
    while waiting:
        before, held = waiting.pop()
        for name in PREFIXES:
            prefix = f"{name}."
            inside = {key.removeprefix(prefix): t for key, t in held.items() if key.startswith(prefix)}
            if inside:
                found[before + prefix] = inside
                waiting.append((before + prefix, inside))
    return found


def _without_inner(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a model whose layers were wrapped: ``features.module.0.weight``."""
    found = {".".join(part for part in name.split(".") if part not in INNER): t for name, t in state.items()}
    return found if len(found) == len(state) else dict(state)


def _may_miss(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _some(names: Any) -> str:
    names = list(names)
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest
