"""A plain candidate for the rules to choose among, and the usual three objectives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from leanfront.core.objectives import Objective, resolve


@dataclass(frozen=True)
class Sample:
    """A candidate as the rules see it: a number and its values."""

    id: int | None
    values: dict[str, float] = field(default_factory=dict)

    def value(self, name: str, split: str | None = None) -> float | None:
        return self.values.get(name)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, **self.values}


@pytest.fixture(scope="session")
def three() -> tuple[Objective, ...]:
    """Accuracy, memory and MACs."""
    return resolve("accuracy,memory,macs")


@pytest.fixture(scope="session")
def sample() -> type[Sample]:
    """The class of the points that the selection tests choose among."""
    return Sample
