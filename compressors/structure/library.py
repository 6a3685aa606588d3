"""torch-pruning, imported without timm.

Where timm is installed, torch-pruning loads all of it, a second of every process, for a count of operations that is
not used here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let imports of a package fail, unless it is loaded already."""
    loaded = package in sys.modules
    if not loaded:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not loaded:
            del sys.modules[package]


with _without("timm"):
    import torch_pruning
    from torch_pruning import _helpers as helpers
    from torch_pruning.dependency import index_mapping
    from torch_pruning.dependency.dependency import Dependency
    from torch_pruning.pruner import function

__all__ = ["Dependency", "function", "helpers", "index_mapping", "torch_pruning"]
