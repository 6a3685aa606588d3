"""Pydantic models of compared candidates."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Compared(BaseModel):
    """One measurement of several candidates, in their order."""

    name: str
    split: str | None
    unit: str
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Choice(BaseModel):
    """A difference between the configurations."""

    choice: str = Field(examples=["weight_bits"])
    of: str | None = Field(description="Layer or channel group.", examples=["conv1"])
    values: list[Any] = Field(description="Values; null where unchanged.", examples=[[4, 8]])


class Comparison(BaseModel):
    """Candidates side by side; every list has one entry per candidate."""

    ids: list[int] = Field(examples=[[17, 23]])
    searches: list[str]
    measurements: list[Compared]
    choices: list[Choice]
