"""Pydantic model of requests for recoveries."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from leanfront.actions.recovery import settings_of
from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.core.compressors import Recovery
from leanfront.http.schemas.fields import given_in, options_in, with_options


@with_options(Recovery, RecoveryLimit)
class RecoveryRequest(BaseModel):
    """A recovery to queue."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the job. Raises `UsageError`."""
        settings, limit = settings_of(given_in(self, Recovery)), options_in(self, RecoveryLimit)
        return {**settings.changed(), "epochs": settings.epochs, "seed": settings.seed, **limit.changed()}
