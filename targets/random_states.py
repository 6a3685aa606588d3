"""States of the global random generators that a user's file may draw from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomStates:
    """States of the global generators of `random`, NumPy and PyTorch on the CPU."""

    python: Any
    numpy: Any
    torch: Tensor

    @classmethod
    def now(cls) -> RandomStates:
        """Return the current states."""
        return cls(random.getstate(), np.random.get_state(), torch.random.get_rng_state())  # noqa: NPY002

    def restore(self) -> None:
        """Set the generators to these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002 - files of users draw from the global generator
        torch.random.set_rng_state(self.torch)


@contextmanager
def kept_states() -> Iterator[None]:
    """Restore the global generators at the end."""
    before = RandomStates.now()
    try:
        yield
    finally:
        before.restore()


def disturb() -> None:
    """Seed the global generators from the operating system, as a new process would."""
    random.seed()
    np.random.seed()  # noqa: NPY002
    torch.default_generator.seed()
