"""Checkpoints of a training: one file of tensors and facts, valid only for that training, replaced atomically."""

from __future__ import annotations

import json
import os
import uuid
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from leanfront.core.compressors.statistics.cache import content_key

VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """State of a training between two steps.

    Args:
        tensors: tensors by name, on any device.
        facts: everything else, JSON-ready.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


def write_checkpoint(path: Path, key: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the previous one, all or nothing.

    If it cannot be written, a warning is issued and the training continues.

    Args:
        path: path of the file; its folder is created.
        key: hash that identifies the training; `read_checkpoint` compares it.
        checkpoint: the state to write.
    """
    # Copied, since safetensors refuses tensors that share memory.
    tensors = {
        name: tensor.detach().cpu().clone().contiguous() for name, tensor in checkpoint.tensors.items()
    }
    facts = json.dumps(checkpoint.facts, sort_keys=True)
    metadata = {"key": key, "facts": facts, "digest": _digest(key, facts, tensors)}
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))
        os.replace(temporary, path)
    except OSError as error:
        warnings.warn(
            f"the checkpoint {path} cannot be written: {error}; training continues without it. Check that the folder "
            "is writable and the disk has space",
            RuntimeWarning,
            stacklevel=2,
        )
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """Read a checkpoint; None, with a warning, if it is damaged or belongs to another training.

    Args:
        path: path of the file; if there is none, None is returned without a warning.
        key: hash that identifies the training.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        _ignored(path, f"cannot be read: {error}")
        return None
    try:
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        found, facts, digest = (metadata[name] for name in ("key", "facts", "digest"))
        tensors = safetensors.torch.load(content)
        whole = _digest(found, facts, tensors) == digest
        read = json.loads(facts)
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        RuntimeError,
        AssertionError,
        RecursionError,
    ):
        # Errors of the two parsers for damaged headers.
        _ignored(path, "is damaged or not a leanfront checkpoint")
        return None
    if not whole:
        _ignored(path, "is damaged")
        return None
    if found != key:
        _ignored(path, "belongs to another target, configuration or settings")
        return None
    return Checkpoint(tensors, read)


def _ignored(path: Path, why: str) -> None:
    warnings.warn(f"the checkpoint {path} {why}: training starts over", RuntimeWarning, stacklevel=3)


def _digest(key: str, facts: str, tensors: Mapping[str, Tensor]) -> str:
    names = sorted(tensors)
    return content_key(VERSION, key, facts, *names, *(tensors[name] for name in names))
