"""Files that a search leaves: its dense weights, and the packed files of its frontier."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import safetensors.torch
from torch import nn

from leanfront.core.compressors.exchange.formats import PACKED
from leanfront.core.storage import Shelf
from leanfront.core.targets import Target
from leanfront.errors import StorageError

log = logging.getLogger("leanfront")


def keep_weights(shelf: Shelf, search: str, target: Target) -> str:
    """Keep the dense weights of a search's target; their content hash."""
    return shelf.keep_weights(search, safetensors.torch.save(_contiguous(target.model)))


def keeper(shelf: Shelf) -> Callable[[int, bytes], None]:
    """Keeps the packed files that a search's driver tells of, as far as the folder can hold them."""
    said = False

    def keep(candidate: int, content: bytes) -> None:
        nonlocal said
        try:
            shelf.keep(candidate, PACKED, content)
        except StorageError as error:
            # They can be made again: a full disk is no reason to end a search.
            if not said:
                log.warning("files of candidates are not kept: %s", error)
            said = True

    return keep


def _contiguous(model: nn.Module) -> dict[str, Any]:
    """The state dict in the form safetensors takes: tied tensors are written under each of their names."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
