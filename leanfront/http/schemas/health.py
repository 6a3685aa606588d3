"""Pydantic models of the service's health."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Worker(BaseModel):
    """A process that runs jobs."""

    name: str = Field(description="Host, process and random digits.")
    version: str
    kinds: list[str] = Field(description="Kinds of job that it runs.")
    started: str = Field(description="Start time, ISO 8601, UTC.")
    seen: str = Field(description="Time of its last report, ISO 8601, UTC.")


class Health(BaseModel):
    """Health of the service. If the server has keys and none is given, only `status` is returned."""

    status: Literal["ok"]
    version: str | None = Field(default=None, examples=["0.1.0"])
    database: str | None = Field(default=None, description="sqlite or postgresql.", examples=["postgresql"])
    workers: list[Worker] | None = Field(default=None, description="Workers seen within the time of a lease.")
