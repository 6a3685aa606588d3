"""All costs of a configuration at once."""

from __future__ import annotations

from collections.abc import Sequence

from compressors import Configuration
from cost_models.profile import Profile
from cost_models.registry import COST_MODELS
from targets.errors import LeanfrontError, UsageError


class Costs:
    """The cost models of one target, built once.

    A model that cannot be built for this target (its reason is in `unavailable`) is left out, unless it was
    asked for.

    Args:
        profile: of the dense model.
        required: measurement names that must be available.

    Raises:
        UsageError: an unknown name is required.
        LeanfrontError: a required cost model cannot be built for this model.
    """

    def __init__(self, profile: Profile, required: Sequence[str] = ()) -> None:
        unknown = [name for name in required if name not in COST_MODELS]
        if unknown:
            raise UsageError(f"unknown cost: {', '.join(unknown)}; known: {', '.join(COST_MODELS)}")
        self.profile = profile
        self.unavailable: dict[str, str] = {}
        self._models = {}
        for name, model in COST_MODELS.items():
            try:
                self._models[name] = model.build(profile)
            except LeanfrontError as error:
                if name in required:
                    raise
                self.unavailable[name] = str(error)

    def of(self, configuration: Configuration) -> dict[str, float]:
        """Measurement name -> value, for a configuration canonical in the profile's structure."""
        return {name: cost(configuration) for name, cost in self._models.items()}
