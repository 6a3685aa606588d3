"""The JSON of arrays in audits, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Rows(BaseModel):
    """Rows of an array."""

    array: str = Field(examples=["angle"])
    shape: list[int] = Field(description="Of the whole array.", examples=[[30, 300]])
    dtype: str = Field(description="As it is stored.", examples=["float16"])
    offset: int = Field(description="Place of the first row shown along the first axis.", examples=[0])
    rows: list[Any] = Field(description="Values; null where there is none.")
    next: int | None = Field(description="The offset of the next page; null on the last.", examples=[100])
