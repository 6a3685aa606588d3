"""The JSON of recoveries, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from leanfront.core.compressors import Recovery
from leanfront.http.schemas.fields import LARGEST_EPOCHS

_RECOVERY = Recovery()


class RecoveryRequest(BaseModel):
    """A recovery to queue."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epochs: int = Field(
        default=_RECOVERY.epochs, description="Passes over the training split.", ge=1, le=LARGEST_EPOCHS
    )
    minutes: float | None = Field(
        default=None,
        description="Wall-clock limit; ends with the best so far.",
        gt=0,
        le=100_000,
        allow_inf_nan=False,
    )
    seed: int = Field(default=_RECOVERY.seed, description="Of everything random.", ge=0, lt=2**31)

    def parameters(self) -> dict[str, Any]:
        """Of the job."""
        minutes = {} if self.minutes is None else {"minutes": self.minutes}
        return {"epochs": self.epochs, "seed": self.seed, **minutes}
