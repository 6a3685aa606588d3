"""The JSON of how the service is, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Worker(BaseModel):
    """A process that takes jobs."""

    name: str = Field(description="Host, process, and something random.")
    version: str
    kinds: list[str] = Field(description="Of jobs that it takes.")
    started: str = Field(description="ISO 8601, UTC.")
    seen: str = Field(description="Its last sign of life, ISO 8601, UTC.")


class Health(BaseModel):
    """Whether the service works. Without a valid key, where keys are needed, only `status` is told."""

    status: Literal["ok"]
    version: str | None = Field(default=None, examples=["0.1.0"])
    database: str | None = Field(default=None, description="sqlite or postgresql.", examples=["postgresql"])
    workers: list[Worker] | None = Field(default=None, description="Seen within the time of a lease.")
