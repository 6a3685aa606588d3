"""Runs of an exported file with batches of other sizes than it was traced with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from leanfront.core.compressors.exchange.export_program import FIXED
from leanfront.errors import CompressionError

SIZES = (1, 3)
"""Sizes of the batches; programs are traced with 2 samples."""
TOLERANCE = 0.01
"""Largest difference from the module's outputs, as a share of the largest output."""


def check_batches(
    run: Callable[[Tensor], Tensor], module: nn.Module, samples: Tensor, what: str, *, exact: bool
) -> None:
    """Check that a file computes the outputs of its module for batches of several sizes.

    Args:
        run: function that runs the file.
        module: the module that was written, in eval mode on the CPU.
        samples: real inputs (n, ...), repeated if there are fewer than needed.
        what: name of the file's format in messages.
        exact: whether the outputs must agree, rather than only their shapes: runtimes round quantised inputs
            differently.

    Raises:
        CompressionError: the file fails for a size, or gives something else.
    """
    samples = samples.repeat(max(SIZES), *[1] * (samples.dim() - 1))
    for size in SIZES:
        inputs = samples[:size].contiguous()
        with torch.no_grad():
            expected = module(inputs)
        try:
            found = run(inputs)
        except Exception as error:  # runtimes' errors share no base class
            reason = str(error).strip().partition("\n")[0]
            raise CompressionError(
                f"the {what} does not run with a batch of {size} ({reason}): {FIXED}"
            ) from error
        if found.shape != expected.shape:
            raise CompressionError(
                f"the {what} gives {tuple(found.shape)} for a batch of {size}, where the module gives "
                f"{tuple(expected.shape)}: {FIXED}"
            )
        bound = TOLERANCE * float(expected.abs().max())
        if exact and not torch.allclose(found.float(), expected, 0.0, bound, equal_nan=True):
            raise CompressionError(
                f"the {what} computes something else than the module for a batch of {size}: the model takes another "
                "way for other inputs, or asks for the batch size in numbers; .safetensors holds it as it is"
            )
