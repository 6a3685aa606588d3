"""The JSON of jobs, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.core.search import STATES


class Job(BaseModel):
    """A piece of work for a worker."""

    id: int = Field(examples=[3])
    kind: str = Field(examples=["search"])
    search: str = Field(examples=["mine"])
    candidate: int | None = Field(description="Candidate it is about, if it is about one.")
    state: str = Field(
        json_schema_extra={"enum": [*STATES, "cancelling"]}, description="Where it is.", examples=["running"]
    )
    message: str | None = Field(description="How it ended, for people.")
    created: str | None = Field(description="ISO 8601, UTC.")
    ended: str | None = Field(description="ISO 8601, UTC; null until it has ended.")
