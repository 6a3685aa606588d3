"""Pydantic models of candidates' files."""

from __future__ import annotations

from pydantic import BaseModel, Field


class File(BaseModel):
    """A candidate's file in one format."""

    format: str = Field(examples=["safetensors"])
    bytes: int | None = Field(description="Size of the file; null if it has not been made.", examples=[43210])
    sha256: str | None = Field(description="SHA-256 of the file in hexadecimal digits; null if not made.")
