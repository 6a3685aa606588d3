"""Disk cache of trained weights.

Write errors are ignored, and damaged files count as absent. Nothing is removed automatically.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn


def cache_folder() -> Path:
    """Return the cache folder: ``LEANFRONT_CACHE``, ``$XDG_CACHE_HOME/leanfront`` or ``~/.cache/leanfront``."""
    own = os.environ.get("LEANFRONT_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "leanfront"


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers, including non-persistent ones; tied ones once. Shared with the model."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def unfit(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Return the sorted names that only one of the two has, or whose shapes or types differ."""
    own = weights_of(model)
    return sorted(
        name
        for name in own.keys() | weights.keys()
        if name not in own
        or name not in weights
        or own[name].shape != weights[name].shape
        or own[name].dtype != weights[name].dtype
    )


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Copy weights into a model in place, and return it. The weights must fit (see `unfit`)."""
    with torch.no_grad():
        for name, tensor in weights_of(model).items():
            tensor.copy_(weights[name])
    return model


def read_weights(path: Path, key: str) -> dict[str, Tensor] | None:
    """Read the weights that `write_weights` stored under a key.

    Returns:
        Name -> tensor on the CPU; None if the file does not exist, is damaged or has another key, or a weight is NaN
        or infinite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get("digest")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError):
        return None
    if said != _digest(key, weights):
        return None
    return weights if all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()) else None


def write_weights(path: Path, key: str, weights: Mapping[str, Tensor]) -> None:
    """Store weights. Write errors are ignored: the weights are then trained again next time.

    Args:
        path: path of the file; its folder is created.
        key: description of the origin of the weights.
        weights: name -> tensor.
    """
    # Copied, since safetensors refuses views that share memory.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}
    with suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        os.close(handle)
        try:
            Path(temporary).write_bytes(safetensors.torch.save(own, {"digest": _digest(key, own)}))
            # Renaming is atomic: another process sees the whole file or none.
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def raw_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor in row-major order."""
    # Viewed as bytes, since NumPy lacks bfloat16.
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return bytes(np.asarray(flat).tobytes())


def _digest(key: str, weights: Mapping[str, Tensor]) -> str:
    # The format has no checksum, so a flipped bit would go unnoticed.
    digest = hashlib.sha256(key.encode())
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()
