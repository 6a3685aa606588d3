"""The JSON of what of a model can be compressed, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Coverage(BaseModel):
    """What of the model can be compressed, what is left alone, and why."""

    parameters: int
    memory_bytes: int = Field(description="Of the dense model.")
    macs: int = Field(description="Multiply-adds of the dense model.")
    quantisable_bytes: float = Field(description="Share of the bytes, in [0, 1].")
    prunable_bytes: float = Field(description="Share of the bytes, in [0, 1].")
    quantisable_macs: float = Field(description="Share of the multiply-adds, in [0, 1].")
    prunable_macs: float = Field(description="Share of the multiply-adds, in [0, 1].")
    groups: list[dict[str, Any]] = Field(description="Channel groups.")
    layers: list[dict[str, Any]]
    exclusions: list[dict[str, Any]] = Field(description="What is left alone, with the reason.")
    unsupported_operators: dict[str, int] = Field(
        description="Operators whose multiply-adds are not counted."
    )
