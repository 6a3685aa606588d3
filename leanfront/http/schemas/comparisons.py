"""The JSON of candidates side by side, as the OpenAPI document tells it."""

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
    """Something in which the configurations differ."""

    choice: str = Field(examples=["weight_bits"])
    of: str | None = Field(description="Layer or channel group.", examples=["conv1"])
    values: list[Any] = Field(description="Null where it is left as it is.", examples=[[4, 8]])


class Comparison(BaseModel):
    """Candidates side by side; every list has one entry a candidate."""

    ids: list[int] = Field(examples=[[17, 23]])
    searches: list[str]
    measurements: list[Compared]
    choices: list[Choice]
