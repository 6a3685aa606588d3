"""Capturing a module as a program of `torch.export` with a free batch size."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from leanfront.errors import CompressionError

FIXED = (
    "tracing fixes the batch size, as by a loop over the samples or by numpy; write sizes as x.shape[0] "
    "or -1 (x.flatten(1), x.new_zeros(x.shape[0], ...))"
)
"""What to do about a model whose graph holds for one batch size."""

BRANCHES = (
    "its forward decides by the values of a tensor, and a graph holds one way alone; write torch.where, or use the "
    ".safetensors file"
)
"""What to do about a model that branches on data."""


def captured(module: nn.Module, example_input: Tensor) -> ExportedProgram:
    """Return the program of a module, for batches of any size.

    A plain trace fixes the batch size where the model asks for ``len(x)`` or ``int(x.shape[0])``. Tracing bytecode
    as well keeps it free, so that is tried second.

    Args:
        module: the module, in eval mode; its tensors are contiguous.
        example_input: a batch that the module accepts, (n, ...).

    Raises:
        CompressionError: the module cannot be traced, or only for one batch size.
    """
    # A batch of one would be taken for a constant.
    inputs = torch.cat([example_input, example_input]) if len(example_input) == 1 else example_input
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    failures = []
    for strict in (False, True):
        try:
            with _quiet():
                return torch.export.export(module, (inputs,), dynamic_shapes=shapes, strict=strict)
        except Exception as error:  # any error of the tracer, or of the module's own code
            failures.append(str(error.__cause__ or error).strip())
    first = failures[0]
    if "Constraints violated" in first:
        raise CompressionError(f"torch.export cannot trace this model with a free batch size: {FIXED}")
    if "data-dependent" in first:
        raise CompressionError(f"torch.export cannot trace this model: {BRANCHES}")
    raise CompressionError(f"torch.export cannot trace this model: {first.partition(chr(10))[0]}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the tracer, which logs what it also raises."""
    loggers = [
        logging.getLogger(name) for name in ("torch._guards", "torch._dynamo", "torch.fx", "torch.export")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        # It also prints the graph that it has so far.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
