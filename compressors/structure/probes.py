"""Inputs on which a model's structure is tried: real samples wherever there are any."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

from leanfront.core.compressors.structure.modules import watch_inputs

COMPARED = 2
"""Number of samples on which the outputs of cut models are compared."""
FOLLOWED = 8
"""Number of samples whose way through the modules is followed, one by one."""
FACTORS = (-1.0, 0.0, 0.1, 10.0)


def probes(model: nn.Module, example_input: Tensor, samples: Tensor | None, seed: int) -> Tensor:
    """Return (n, ...) inputs on which a model's structure is tried.

    Without samples these are the example's own rows. A single float row gets a noisy copy, since an all-zero example
    would hide mistakes, unless the model does not run on it: an input may be categories that are stored as floats.

    Args:
        model: model in eval mode.
        example_input: a batch that the model accepts, shape (n, ...).
        samples: real inputs, shape (m, ...), or None.
        seed: seed of the noise.
    """
    if samples is not None and len(samples):
        return samples[:FOLLOWED]
    rows = example_input[:FOLLOWED]
    if len(rows) > 1 or not rows.is_floating_point():
        return rows
    noise = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
    both = torch.cat([rows, rows + noise.to(rows)])
    try:
        with torch.no_grad():
            model(both)
    except Exception:
        return rows
    return both


def compared(inputs: Tensor) -> Tensor:
    """Return the rows on which outputs are compared."""
    return inputs[:COMPARED]


def one_way(model: nn.Module, inputs: Tensor) -> tuple[bool, set[str]]:
    """Follow inputs through a model, and float inputs of other sizes too, as far as it runs on them.

    Args:
        model: model in eval mode.
        inputs: (n, ...) inputs; each row is followed alone, and all together.

    Returns:
        Whether the same modules are called every time, and the names of the modules that are ever called.
    """
    rows: Sequence[Tensor] = [inputs, *torch.split(inputs, 1)] if len(inputs) > 1 else [inputs]
    ways = [_way(model, row) for row in rows]
    if inputs.is_floating_point():
        # Compression changes what a branch on data sees.
        for factor in FACTORS:
            with suppress(Exception):  # inputs may be categories that are stored as floats
                ways.append(_way(model, factor * inputs[:1]))
    return all(way == ways[0] for way in ways), set().union(*ways)


def _way(model: nn.Module, inputs: Tensor) -> set[str]:
    """Return the names of the modules that a model calls."""
    called: set[str] = set()
    names = [name for name, _ in model.named_modules()]
    watch_inputs(model, inputs, names, lambda name, _: called.add(name))
    return called
