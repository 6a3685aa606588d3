"""The tiny target, whose evaluations take as long as one says: long enough to be killed in their middle."""

import importlib.util
import os
import time
from pathlib import Path

import torch

from leanfront.core.targets import Target

_specification = importlib.util.spec_from_file_location("tiny", Path(__file__).parents[1] / "tiny.py")
assert _specification is not None
assert _specification.loader is not None
tiny = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(tiny)


class Slow(tiny.Net):  # type: ignore[misc, name-defined]
    """Sleeps for ``SLOW_SECONDS`` before every batch of more than a few samples; while ``SLOW_WHILE`` is a file."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 16 and ("SLOW_WHILE" not in os.environ or Path(os.environ["SLOW_WHILE"]).exists()):
            time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
        output: torch.Tensor = super().forward(x)
        return output


def target() -> Target:
    made: Target = tiny._make(Slow)
    return made
