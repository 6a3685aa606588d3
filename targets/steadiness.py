"""Check that a model computes the same from the same sample, whatever it computed before and beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.targets.random_states import disturb, kept_states
from leanfront.errors import TargetError

FEW = 4
"""Number of samples that are run again."""
ROUNDING = 1e-4
"""Largest difference, as a share of the largest output, that is taken for rounding without another look."""
ROUNDING_IN_DOUBLE = 1e-7
"""The same in double precision, in which rounding is told apart from a real difference."""
WITHOUT_DOUBLE = 1e-2
"""The same for models that do not run in double precision."""


def check_steady(model: nn.Module, inputs: Tensor, scores: Tensor) -> None:
    """Check that a model gives the same scores in a second run, and for a sample alone as in a batch.

    A model that calls other modules for other batches is accepted.

    Args:
        model: model in eval mode.
        inputs: (n, ...) batch.
        scores: (n, C) scores of the model on this batch.

    Raises:
        TargetError: the scores differ; the message says of which kind the difference is, and names the module in
            which it begins.
    """
    few = inputs[:FEW]
    with kept_states(), torch.no_grad():
        disturb()
        first, second = model(few), model(few)
        if not _same(model, _again(inputs), few, first, second):
            raise TargetError(
                f"the model gives other outputs in a second run on the same {len(few)} inputs (by up to "
                f"{_gap(first, second):.3g} of {_size(first):.3g}): {_cause(model, inputs)}. Models are compared "
                "by their outputs, which must depend on the inputs alone"
            )
        if len(inputs) == 1:
            return
        for part, count in ((few[:1], 1), (few, len(few))):
            alone = model(part)
            if not _same(model, _alone(inputs, count), part, alone, scores[:count]):
                if _path(model, part) != _path(model, inputs):
                    return  # a model that goes another way for every batch is compressed along the calibration's
                raise TargetError(
                    f"the model's outputs for a sample depend on the other samples of its batch (by up to "
                    f"{_gap(alone, scores[:count]):.3g} of {_size(scores):.3g} between a batch of {len(inputs)} and "
                    f"one of {count}): {_mixing(model, inputs, count)}"
                )


def _again(inputs: Tensor) -> Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]:
    def compare(model: nn.Module, few: Tensor) -> tuple[Tensor, Tensor]:
        model(
            inputs.to(few.dtype)
        )  # what a model remembers of the last batch must differ between the two runs
        return model(few), model(few)

    return compare


def _alone(inputs: Tensor, count: int) -> Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]:
    def compare(model: nn.Module, part: Tensor) -> tuple[Tensor, Tensor]:
        batch = inputs.to(part.dtype)
        return model(part), model(batch)[:count]

    return compare


def _same(
    model: nn.Module,
    compare: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]],
    inputs: Tensor,
    one: Tensor,
    other: Tensor,
) -> bool:
    """Return whether outputs differ by rounding at most; in doubt the comparison is repeated in double precision."""
    gap = _gap(one, other) / _size(other)
    if gap <= ROUNDING:
        return True
    try:
        exact = copy.deepcopy(model).double()
        one, other = compare(exact, inputs.double() if inputs.is_floating_point() else inputs)
    except Exception:
        return gap <= WITHOUT_DOUBLE  # a model may insist on its own precision
    return _gap(one, other) / _size(other) <= ROUNDING_IN_DOUBLE


def _gap(one: Tensor, other: Tensor) -> float:
    gap = float((one.double() - other.double()).abs().max())
    return gap if gap == gap else float("inf")


def _size(scores: Tensor) -> float:
    return max(float(scores.double().abs().max()), 1e-12)


def _cause(model: nn.Module, inputs: Tensor) -> str:
    """Describe why two runs differ."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    state = torch.random.get_rng_state()
    model(inputs)
    first, second = (_record(model, inputs[:FEW]) for _ in range(2))
    drawn = not torch.equal(state, torch.random.get_rng_state())
    where = _place(model, first, second, lambda x: x, lambda x: x)
    if drawn:
        return (
            f"{where} draws random numbers in eval mode, such as functional dropout without training=self.training; "
            "make it depend on self.training"
        )
    changed = [
        name
        for name, buffer in model.named_buffers()
        if name in before and not torch.equal(buffer, before[name])
    ]
    if changed:
        return (
            f"{where} changes its buffer '{changed[0]}' in eval mode and reads it again; update state in training "
            "only (if self.training: ...)"
        )
    return (
        f"{where} keeps state from one call to the next, or draws random numbers from a generator of its own; reset "
        "the state in every forward, and draw in training only"
    )


def _path(model: nn.Module, inputs: Tensor) -> list[str]:
    """Return the names of the modules that a batch goes through, in order."""
    return [name for name, _, _ in _record(model, inputs)]


def _mixing(model: nn.Module, inputs: Tensor, count: int) -> str:
    """Describe where samples of a batch are mixed."""
    together, alone = _record(model, inputs), _record(model, inputs[:count])
    rows = len(inputs)

    def own(x: Tensor) -> Tensor:
        # The batch may have been folded into the first dimension, as windows and heads are.
        return x[: len(x) // rows * count] if x.ndim and len(x) % rows == 0 else x

    where = _place(model, together, alone, own, lambda x: x)
    module = dict(model.named_modules()).get(where.partition(" ")[0])
    if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is None:
        return (
            f"{where} normalises with the statistics of the batch; give it track_running_stats=True and train it, or "
            "use a norm within samples (GroupNorm, LayerNorm)"
        )
    return (
        f"{where} mixes samples (statistics or attention over the batch dimension?); compute the scores of a sample "
        "from its own input"
    )


Call = tuple[str, list[Tensor], list[Tensor]]
"""Name of a module, tensors that it was given, tensors that it returned."""


def _record(model: nn.Module, inputs: Tensor) -> list[Call]:
    """Run a model and return the calls of its modules in the order in which they end."""
    calls: list[Call] = []
    handles = []

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, given: Any, made: Any) -> None:
            calls.append((name, _tensors(given), _tensors(made)))

        return hook

    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_hook(note(name)))
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values.detach().clone()]
    return [each for value in values for each in _tensors(value)] if isinstance(values, tuple | list) else []


def _place(
    model: nn.Module,
    one: list[Call],
    other: list[Call],
    of_one: Callable[[Tensor], Tensor],
    of_other: Callable[[Tensor], Tensor],
) -> str:
    """Return the first module that makes different outputs of equal inputs, as ``layer1.drop (Dropout)``."""
    modules = dict(model.named_modules())
    for (name, given, made), (same, given_too, made_too) in zip(one, other, strict=False):
        if name != same:
            break
        if _close(given, given_too, of_one, of_other) and not _close(made, made_too, of_one, of_other):
            return (
                f"{name} ({type(modules[name]).__name__})"
                if name
                else f"the model ({type(model).__name__}) itself"
            )
    return f"the model ({type(model).__name__})"


def _close(
    one: list[Tensor],
    other: list[Tensor],
    of_one: Callable[[Tensor], Tensor],
    of_other: Callable[[Tensor], Tensor],
) -> bool:
    if len(one) != len(other):
        return False
    for first, second in zip(map(of_one, one), map(of_other, other), strict=True):
        if first.shape != second.shape:
            return False
        if first.numel() and _gap(first, second) > ROUNDING * _size(second):
            return False
    return True
