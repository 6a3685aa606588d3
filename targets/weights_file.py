"""Reading of a file of weights, without executing anything from it."""

from __future__ import annotations

import pickle
import re
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from leanfront.errors import TargetError

COMPLETE = (
    "is the file complete, and a state dict from torch.save or a .safetensors file? Download or save it again"
)
_FORBIDDEN = re.compile(r"Unsupported (?:global: GLOBAL|class) ([A-Za-z_][\w.]*)")
"""PyTorch's text about a file that wants another class or function than those of tensors."""


def read_content(path: Path) -> Any:
    """Read what a ``.safetensors`` file, or a file of ``torch.save`` in its present or its old format, holds.

    Raises:
        TargetError: there is no such file, or it cannot be read; one message, whatever is wrong in it.
    """
    if path.is_dir():
        raise TargetError(f"weights: '{path}' is a folder; give the file of weights in it")
    if not path.is_file():
        raise TargetError(f"weights: there is no file '{path}'")
    try:
        if path.stat().st_size == 0:
            raise TargetError(f"weights: '{path}' is empty; download or save it again")
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about TorchScript archives, which are refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except TargetError:
        raise
    except Exception as error:  # readers raise anything about damaged files
        raise TargetError(f"weights: '{path}' {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that cannot be read, as the end of a sentence, with the remedy."""
    kind = _kind(path)
    if kind is not None:
        return kind
    wanted = _FORBIDDEN.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
    if wanted is not None:
        return (
            f"holds more than tensors ({wanted[1]}), or is damaged; it is not opened because that could run code. "
            "Save the state dict alone: torch.save(model.state_dict(), ...), or safetensors"
        )
    return f"cannot be read: {_first_line(error)}; {COMPLETE}"


def _kind(path: Path) -> str | None:
    """Recognise files of other kinds than weights, without opening what they hold."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = archive.namelist()
            if any("/code/" in f"/{name}" for name in inside):
                return "is a TorchScript program; save the state dict of the module it was made of"
        elif _is_tar(path):
            return (
                "is in the tar format of the first PyTorch releases, or an archive; unpack it, or load it in "
                "PyTorch and save the state dict anew"
            )
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError):
        return None
    return None


def _is_tar(path: Path) -> bool:
    if not tarfile.is_tarfile(path):
        return False
    with tarfile.open(path) as archive:
        return archive.next() is not None  # nothing but zeros is an empty archive


def _first_line(error: Exception) -> str:
    # PyTorch begins and ends with advice to switch the protection off. Bytes of a damaged file may be in the text.
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
    line = ascii(text[:300])[1:-1]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
