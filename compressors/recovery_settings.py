"""How a compressed model is trained on: everything that decides the weights which come of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from leanfront.errors import ConfigurationError

RECIPE = 1
"""Version of the training and of the defaults below: stored candidates name the one they were trained with."""
FEATURES = 200.0
"""Default weight of the blocks' outputs: docs/benchmarks.md, "Recovery", has others."""
LARGEST_SETTING = 1 << 31
"""Epochs, samples and seeds stay below it."""


@dataclass(frozen=True)
class Recovery:
    """Settings of a recovery; equal settings give the same weights on one machine with one number of threads.

    Args:
        epochs: passes over the training split. The learning rate falls to zero over all of them.
        seed: of the order, the augmentation and dropout.
        optimiser: a name in `leanfront.core.compressors.training.optimisers.OPTIMISERS`.
        learning_rate: the highest; the optimiser's own default when None.
        weight_decay: of weights alone, not of norms, biases and scales.
        batch_size: samples a step, 2 or more.
        temperature: softens both models' outputs before they are compared.
        distillation: weight of the dense model's outputs in the loss; the rest is for the labels. In [0, 1].
        features: weight of the blocks' outputs in the loss, beside the classes'
            (`training/feature_matching.py`). 0 for none.
        ema: decay of the moving average of all weights, whose accuracy is measured beside theirs. In [0, 1).
        patience: epochs without gain after which training stops early; None for never.
        warmup: share of all steps over which the learning rate rises. In [0, 1).
        steps: training ends after so many steps, whatever the schedule; None for all of them.

    Raises:
        ConfigurationError: a value is out of range.
    """

    epochs: int = 3
    seed: int = 0
    optimiser: str = "adamw"
    learning_rate: float | None = None
    weight_decay: float = 1e-4
    batch_size: int = 64
    temperature: float = 4.0
    distillation: float = 0.9
    features: float = FEATURES
    ema: float = 0.99
    patience: int | None = None
    warmup: float = 0.05
    steps: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("seed", 0), ("batch_size", 2)):
            object.__setattr__(self, name, _whole(name, getattr(self, name), least))
        for name in ("patience", "steps"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _whole(name, getattr(self, name), 1))
        if not isinstance(self.optimiser, str) or not 0 < len(self.optimiser) <= 64:
            raise ConfigurationError(f"recovery: optimiser must be a name, not {self.optimiser!r}")
        if self.learning_rate is not None:
            object.__setattr__(self, "learning_rate", _number("learning_rate", self.learning_rate, 0, 100))
            if self.learning_rate == 0:
                raise ConfigurationError("recovery: learning_rate is 0, with which nothing is learnt")
        for name, most in (
            ("weight_decay", 100),
            ("features", 1e6),
            ("distillation", 1),
            ("ema", 1),
            ("warmup", 1),
        ):
            object.__setattr__(self, name, _number(name, getattr(self, name), 0, most))
        for name in ("ema", "warmup"):
            if getattr(self, name) == 1:
                raise ConfigurationError(f"recovery: {name} must lie below 1")
        object.__setattr__(self, "temperature", _number("temperature", self.temperature, 0.01, 1000))

    def to_json(self) -> dict[str, Any]:
        """What differs from the defaults, with epochs, seed and the recipe's version: it stands in file headers."""
        said: dict[str, Any] = {"epochs": self.epochs, "recipe": RECIPE, "seed": self.seed}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in said and value != each.default:
                said[each.name] = value
        return dict(sorted(said.items()))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recovery:
        """Read what `to_json` wrote.

        Raises:
            ConfigurationError: no object, unknown keys, another recipe, or bad values.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a recovery is a JSON object, not {type(data).__name__}")
        given = dict(data)
        recipe = given.pop("recipe", None)
        if recipe != RECIPE or isinstance(recipe, bool):
            raise ConfigurationError(f"recovery: recipe {recipe!r} is unknown; this release has {RECIPE}")
        known = {each.name for each in fields(cls)}
        unknown = sorted(str(key) for key in given if key not in known)
        if unknown:
            raise ConfigurationError(
                f"recovery: unknown {', '.join(unknown[:8])}; known: {', '.join(sorted(known))}"
            )
        return cls(**given)


def _whole(name: str, value: Any, least: int) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool) or not least <= value < LARGEST_SETTING:
        raise ConfigurationError(f"recovery: {name} must be a whole number from {least}, not {value!r}")
    return int(value)


def _number(name: str, value: Any, low: float, high: float) -> float:
    real = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_SETTING
    if not real or not math.isfinite(value) or not low <= value <= high:
        raise ConfigurationError(f"recovery: {name} must lie in [{low:g}, {high:g}], not {value!r}")
    return float(value)
