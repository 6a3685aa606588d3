"""Pydantic models of arrays in audits."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Rows(BaseModel):
    """Rows of an array."""

    array: str = Field(examples=["angle"])
    shape: list[int] = Field(description="Shape of the whole array.", examples=[[30, 300]])
    dtype: str = Field(description="Stored data type.", examples=["float16"])
    offset: int = Field(description="Index of the first returned row.", examples=[0])
    rows: list[Any] = Field(description="Values; null where missing.")
    next: int | None = Field(description="Offset of the next page; null on the last.", examples=[100])
