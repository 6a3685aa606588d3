"""Pydantic model of targets."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Target(BaseModel):
    """A target registered by the operator."""

    name: str = Field(examples=["digits"])
    description: str
