"""Pydantic models of measurements, and of requests to measure what a budget query needs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from leanfront.actions.measured_selection import MOST_MEASURED
from leanfront.actions.selection_options import SelectionOptions
from leanfront.core.objectives import STRATEGIES, Budget
from leanfront.core.search.candidate import Stage
from leanfront.errors import UsageError
from leanfront.http.queries import MOST_LIMITS
from leanfront.http.schemas.fields import one_of
from leanfront.options import options_of

_OPTIONS = options_of(SelectionOptions)
LARGEST_MEASURED = 100
"""Largest number of candidates that one request may have measured."""

Limit = Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, Field(max_length=50)]


class Measurement(BaseModel):
    """A measured number."""

    name: str = Field(examples=["accuracy"])
    split: str | None = Field(description="Data it was measured on; null for costs.", examples=["validation"])
    value: float | None = Field(
        description="Value in `unit`; null if the measurement failed.", examples=[0.87]
    )
    low: float | None = Field(description="Lower end of the 95% interval; null without sampling error.")
    high: float | None = Field(description="Upper end of the 95% interval.")
    count: int | None = Field(description="Number of samples.", examples=[2000])
    unit: str = Field(description="Unit of value, low and high; '1' for shares.", examples=["1"])


class MeasureRequest(BaseModel):
    """A budget query whose limited metrics should be measured."""

    model_config = ConfigDict(extra="forbid", strict=True)

    maximum: dict[str, Limit] = Field(
        default={},
        description="Upper limits: numbers, or sizes and counts with units.",
        max_length=MOST_LIMITS,
        examples=[{"mce": 1.2, "memory": "64KB"}],
    )
    minimum: dict[str, Limit] = Field(
        default={},
        description="Lower limits.",
        max_length=MOST_LIMITS,
        examples=[{"accuracy": 0.9}],
    )
    strategy: str = one_of(STRATEGIES, _OPTIONS["strategy"].help, _OPTIONS["strategy"].default)
    stage: Stage = Field(default=_OPTIONS["stage"].default, description=_OPTIONS["stage"].help)
    most: int = Field(
        MOST_MEASURED,
        description="Largest number of candidates to measure, most accurate first; each needs an evaluation.",
        ge=1,
        le=LARGEST_MEASURED,
    )

    def budget(self) -> Budget:
        """Return the limits. Raises `UsageError` if there are none."""
        found = Budget.of(maximum=self.maximum, minimum=self.minimum)
        if not found.names:
            raise UsageError("no limit is named: without one nothing need be measured")
        return found
