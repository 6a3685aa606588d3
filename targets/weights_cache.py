"""Trained weights kept on disk: what took minutes to train is trained once.

It is a cache: what cannot be written is not kept, and what is damaged is absent. Nothing of it goes by itself.
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
    """Where what can be made again is kept.

    ``LEANFRONT_CACHE``, ``$XDG_CACHE_HOME/leanfront`` or ``~/.cache/leanfront``.
    """
    own = os.environ.get("LEANFRONT_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "leanfront"


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, those outside the state dict too; tied ones once. Shared with the model."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def unfit(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Names that only one of the two has, or whose shapes or types differ, in order."""
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
    """Copy weights that fit (see `unfit`) into a model, in place, and return it."""
    with torch.no_grad():
        for name, tensor in weights_of(model).items():
            tensor.copy_(weights[name])
    return model


def read_weights(path: Path, key: str) -> dict[str, Tensor] | None:
    """What `write_weights` kept under that key.

    Returns:
        Name -> tensor on the CPU; None where there is no such file, it is damaged or of another key, or a weight is
        NaN or infinite: it is to be made anew then.
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
    """Keep weights. A cache that cannot be written costs the next start a training, so it is no error.

    Args:
        path: of the file; its folder is made.
        key: what the weights came of, in words.
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
    """A tensor's values as they lie in memory, row by row."""
    # By way of bytes: NumPy lacks bfloat16.
    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return bytes(np.asarray(flat).tobytes())


def _digest(key: str, weights: Mapping[str, Tensor]) -> str:
    # The format has no checksum of its own: a flipped bit would be another network.
    digest = hashlib.sha256(key.encode())
    for name in sorted(weights):
        tensor = weights[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\n".encode())
        digest.update(raw_bytes(tensor))
    return digest.hexdigest()
