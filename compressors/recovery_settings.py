"""Settings of a recovery: everything that decides the trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leanfront.core.compressors.training.optimisers import OPTIMISERS
from leanfront.errors import ConfigurationError
from leanfront.options import Options, option

RECIPE = 1
"""Version of the training and of the defaults below; stored with every recovered candidate."""
FEATURES = 200.0
"""Default weight of the blocks' outputs: docs/benchmarks.md, "Recovery", compares others."""
LARGEST_SETTING = 1 << 31
"""Upper limit of samples, steps and seeds, excluded."""
MOST_EPOCHS = 100_000


@dataclass(frozen=True, kw_only=True)
class Recovery(Options):
    """Settings of a recovery; equal settings give the same weights on one machine with one number of threads.

    Raises:
        ConfigurationError: a value is out of range.
    """

    _error = ConfigurationError
    _context = "recovery: "

    epochs: int = option(
        3,
        "Passes over the training split, over which the learning rate falls to zero.",
        least=1,
        most=MOST_EPOCHS,
        title="Epochs of training",
    )
    seed: int = option(
        0, "Seed of the order of samples, augmentation and dropout.", least=0, below=LARGEST_SETTING
    )
    optimiser: str = option("adamw", "Optimiser.", known=OPTIMISERS, closed=False, fewest=1, longest=64)
    learning_rate: float | None = option(
        None, "Highest learning rate; by default the optimiser's own.", above=0, most=100
    )
    weight_decay: float = option(1e-4, "Weight decay; norms, biases and scales have none.", least=0, most=100)
    batch_size: int = option(64, "Number of samples per step.", least=2, below=LARGEST_SETTING)
    temperature: float = option(
        4.0, "Temperature that softens both models' outputs before they are compared.", least=0.01, most=1000
    )
    distillation: float = option(
        0.9, "Weight of the dense model's outputs in the loss; the rest weighs the labels.", least=0, most=1
    )
    features: float = option(
        FEATURES,
        "Weight of the blocks' outputs in the loss, relative to that of the classes; 0 for none.",
        least=0,
        most=1e6,
    )
    ema: float = option(
        0.99,
        "Decay of the moving average of all weights, whose accuracy is measured as well as that of the weights.",
        least=0,
        below=1,
    )
    patience: int | None = option(
        None, "Epochs without gain after which training stops early.", least=1, below=LARGEST_SETTING
    )
    warmup: float = option(0.05, "Share of all steps over which the learning rate rises.", least=0, below=1)
    steps: int | None = option(
        None, "Steps after which training ends, whatever the schedule.", least=1, below=LARGEST_SETTING
    )

    def to_json(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, with epochs, seed and the recipe, for file headers."""
        said = {**self.changed(), "epochs": self.epochs, "recipe": RECIPE, "seed": self.seed}
        return dict(sorted(said.items()))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recovery:
        """Create settings from the result of `to_json`.

        Raises:
            ConfigurationError: the data is no object, or has unknown keys, another recipe, or invalid values.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a recovery is a JSON object, not {type(data).__name__}")
        given = dict(data)
        recipe = given.pop("recipe", None)
        if recipe != RECIPE or isinstance(recipe, bool):
            raise ConfigurationError(f"recovery: recipe {recipe!r} is unknown; this release has {RECIPE}")
        return cls.read(given)
