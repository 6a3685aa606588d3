"""The JSON of a candidate's files, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class File(BaseModel):
    """A candidate's file in one format."""

    format: str = Field(examples=["safetensors"])
    bytes: int | None = Field(description="Of the file; null where none has been made.", examples=[43210])
    sha256: str | None = Field(description="Of the file, in hexadecimal digits; null where none was made.")
