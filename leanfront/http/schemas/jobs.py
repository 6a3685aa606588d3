"""Pydantic model of jobs."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.core.search import STATES


class Job(BaseModel):
    """A piece of work for a worker."""

    id: int = Field(examples=[3])
    kind: str = Field(examples=["search"])
    search: str = Field(examples=["mine"])
    candidate: int | None = Field(description="Id of its candidate, if it has one.")
    state: str = Field(
        json_schema_extra={"enum": [*STATES, "cancelling"]},
        description="State of the job.",
        examples=["running"],
    )
    message: str | None = Field(description="How it ended, as text.")
    created: str | None = Field(description="Time of creation, ISO 8601, UTC.")
    ended: str | None = Field(description="Time of the end, ISO 8601, UTC; null until it has ended.")
