"""Files that a search keeps: its dense weights, and the packed files of its frontier."""

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
    """Keep the dense weights of a search's target; return their digest."""
    return shelf.keep_weights(search, safetensors.torch.save(_contiguous(target.model)))


def keeper(shelf: Shelf) -> Callable[[int, bytes], None]:
    """Return a function that keeps candidates' packed files as long as the folder can hold them."""
    said = False

    def keep(candidate: int, content: bytes) -> None:
        nonlocal said
        try:
            shelf.keep(candidate, PACKED, content)
        except StorageError as error:
            # The files can be made again, so a full disk does not end the search.
            if not said:
                log.warning("files of candidates are not kept: %s", error)
            said = True

    return keep


def _contiguous(model: nn.Module) -> dict[str, Any]:
    """Return the state dict as safetensors needs it; tied tensors are written under each of their names."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
