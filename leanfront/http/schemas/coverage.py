"""Pydantic model of the coverage report."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Coverage(BaseModel):
    """Which parts of the model can be compressed, which cannot, and why."""

    parameters: int
    memory_bytes: int = Field(description="Bytes of the dense model.")
    macs: int = Field(description="Multiply-adds of the dense model.")
    quantisable_bytes: float = Field(description="Share of the bytes whose bits can be chosen, 0..1.")
    prunable_bytes: float = Field(description="Share of the bytes from which channels can be cut, 0..1.")
    quantisable_macs: float = Field(description="Share of the multiply-adds whose bits can be chosen, 0..1.")
    prunable_macs: float = Field(
        description="Share of the multiply-adds from which channels can be cut, 0..1."
    )
    groups: list[dict[str, Any]] = Field(description="Channel groups.")
    layers: list[dict[str, Any]]
    exclusions: list[dict[str, Any]] = Field(description="Parts that cannot be compressed, with the reason.")
    unsupported_operators: dict[str, int] = Field(
        description="Operators whose multiply-adds are not counted."
    )
