"""Training of a target's architecture from scratch, for populations of independent models."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from leanfront.core.targets.forward import class_scores, logits_alone
from leanfront.core.targets.model_copy import private_copy
from leanfront.core.targets.split import Split
from leanfront.core.targets.weights_cache import (
    cache_folder,
    fill,
    read_weights,
    unfit,
    weights_of,
    write_weights,
)
from leanfront.errors import LeanfrontError, TargetError, UsageError

Step = Callable[[nn.Module, float], None]
"""Function called after every optimiser step with the model and the progress in (0, 1]; it may change weights."""

PROBE = 16
"""Number of calibration samples on which a new model is tried."""
LISTED = 4
FOLDER = "retrained"
"""Folder of the weights in the cache."""


class Retrainable(Protocol):
    """The part of `Target` needed for training from scratch."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def name(self) -> str | None: ...

    @property
    def reference(self) -> str | None: ...

    @property
    def example_input(self) -> Tensor: ...

    @property
    def calibration(self) -> Split: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def retrain(self) -> Callable[..., nn.Module] | None: ...

    @property
    def fingerprint(self) -> str: ...


def check_retrain(retrain: Any) -> None:
    """Check the argument `retrain` of a target.

    Raises:
        TargetError: it is not callable, or cannot be called with a seed alone.
    """
    if not callable(retrain):
        raise TargetError(
            f"retrain is a {type(retrain).__name__}; give a function of a seed that trains the architecture anew "
            "and returns it, or leave it out"
        )
    signature = _signature(retrain)
    try:
        if signature is not None:
            signature.bind(0)
    except TypeError as error:
        raise TargetError(
            f"retrain cannot be called with a seed alone ({error}); it must be a function retrain(seed) or "
            "retrain(seed, step=None)"
        ) from error


def takes_step(retrain: Callable[..., nn.Module]) -> bool:
    """Whether a function has a parameter named ``step``."""
    signature = _signature(retrain)
    found = None if signature is None else signature.parameters.get("step")
    return found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)


def recipe_of(target: Retrainable) -> str | None:
    """Return a string that identifies the target's training, used as part of the cache key of its weights.

    Returns:
        The function's str attribute ``recipe``; for a function from a file without a closure, a hash of the file and
        the target's reference; otherwise None, since another call might train differently.
    """
    retrain: Any = target.retrain
    said = getattr(retrain, "recipe", None)
    if isinstance(said, str):
        return said
    if not inspect.isfunction(retrain) or retrain.__closure__:
        return None
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(retrain).parameters.items()
        if parameter.default is not parameter.empty
    }
    if any(not isinstance(value, str | int | float | None) for value in defaults.values()):
        return None
    try:
        source = Path(inspect.getfile(retrain)).read_bytes()
    except (OSError, TypeError):
        return None
    return f"{hashlib.sha256(source).hexdigest()} {retrain.__qualname__} {defaults} {target.reference}"


def retrained(target: Retrainable, seed: int, step: Step | None, key: str | None) -> nn.Module:
    """See `Target.retrained`."""
    if target.retrain is None:
        raise TargetError(
            f"'{target.name}' cannot be trained anew: give Target(retrain=...), a function of a seed that trains the "
            "architecture from scratch and returns it; built-in targets have one where their data have train/"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"retrained: seed is {seed!r}; give a whole number from 0")
    if step is None and key is not None:
        raise UsageError(f"retrained: key {key!r} is of a step, but there is none; leave it out")
    if step is not None and not takes_step(target.retrain):
        raise TargetError(
            f"the retrain of '{target.name}' takes no step, by which pruning is let into the training; add the "
            "parameter: def retrain(seed, step=None), and call step(model, progress) after every optimiser step "
            "with the part of all steps that are done"
        )
    place = _place(target, seed, step, key)
    with torch.inference_mode(False):
        kept = None if place is None else read_weights(*place)
        if kept is not None and not unfit(target.model, kept):
            return fill(copy.deepcopy(target.model), kept)
        model = _checked(target, seed, _called(target.retrain, seed, step))
    if place is not None:
        write_weights(*place, weights_of(model))
    return model


def _place(target: Retrainable, seed: int, step: Step | None, key: str | None) -> tuple[Path, str] | None:
    """Return path and key of the cached weights; None if they are not cached."""
    recipe = recipe_of(target)
    if recipe is None or (step is not None and key is None):
        return None
    whole = "\n".join(
        (f"retrained 1 torch {torch.__version__}", target.fingerprint, str(seed), repr(key), recipe)
    )
    return cache_folder() / FOLDER / f"{hashlib.sha256(whole.encode()).hexdigest()}.safetensors", whole


def _called(retrain: Callable[..., Any], seed: int, step: Step | None) -> Any:
    # Seeds functions that forgot to do it; the caller's random state is restored.
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if used else ()
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(seed)
        try:
            return retrain(seed) if step is None else retrain(seed, step=step)
        except LeanfrontError:
            raise
        except Exception as error:
            raise TargetError(f"retrain(seed={seed}) failed: {type(error).__name__}: {error}") from error


def _checked(target: Retrainable, seed: int, made: Any) -> nn.Module:
    """Check the model returned by a training, and return the target's model with its weights."""
    what = f"retrain(seed={seed})"
    if not isinstance(made, nn.Module):
        raise TargetError(
            f"{what} returned a {type(made).__name__}, not a torch.nn.Module; end it with return model"
        )
    inputs, _ = next(target.calibration.batches(PROBE))
    try:
        own = logits_alone(private_copy(made, target.example_input), target.example_input)
        scores = class_scores(own, inputs, f"the first {len(inputs)} calibration samples")
    except TargetError as error:
        raise TargetError(f"{what}: {error}") from error
    if scores.shape[1] != len(target.classes):
        raise TargetError(
            f"{what} returned a model of {scores.shape[1]} class scores; the target has {len(target.classes)} classes"
        )
    weights = weights_of(own)
    wrong = unfit(target.model, weights)
    if wrong:
        more = f" and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise TargetError(
            f"{what} returned another architecture than the target's: {', '.join(wrong[:LISTED])}{more} differ in "
            "name, shape or type; it must train the same modules anew"
        )
    bad = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise TargetError(
            f"{what} returned weights that are NaN or infinite, such as {bad[0]}; did it diverge?"
        )
    model = fill(copy.deepcopy(target.model), weights)
    with torch.no_grad():
        same = torch.allclose(model(inputs), scores, rtol=1e-3, atol=1e-4)
    if not same:
        raise TargetError(
            f"{what} returned another architecture than the target's: its weights in the target's model give other "
            "scores; it must train the same modules anew"
        )
    return model


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None  # some callables written in C have no signature
