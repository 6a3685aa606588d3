"""The JSON of targets, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Target(BaseModel):
    """A target that the operator offers."""

    name: str = Field(examples=["digits"])
    description: str
