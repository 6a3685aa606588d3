"""Pydantic models of candidates."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from leanfront.core.search.candidate import CANDIDATE_STATES
from leanfront.http.schemas.measurements import Measurement


class Configuration(BaseModel):
    """How the model is compressed; layers and groups that are not named are unchanged."""

    version: int = Field(examples=[1])
    channels: dict[str, int] = Field(description="Channel group -> kept channels.", examples=[{"layer1": 12}])
    weight_bits: dict[str, int] = Field(description="Layer -> bits per weight.", examples=[{"conv1": 4}])
    activation_bits: dict[str, int] = Field(description="Layer -> bits of its input.")
    sparsity: dict[str, float | str] = Field(description="Layer -> share of zeroed weights, or '2:4'.")
    criterion: str
    method: str
    activation_range: str
    seed: int
    recovery: list[dict[str, Any]] = Field(
        default=[], description="Settings of each recovery; omitted if there was none."
    )


class Candidate(BaseModel):
    """An evaluated configuration. Bytes and multiply-adds are exact."""

    id: int = Field(examples=[17])
    search: str = Field(examples=["mine"])
    trial: int = Field(description="Number of its trial.")
    state: str = Field(json_schema_extra={"enum": list(CANDIDATE_STATES)})
    reason: str | None = Field(description="Why it failed or was stopped.")
    configuration: Configuration
    accuracy: float | None = Field(
        description="Top-1 accuracy on the validation split, 0..1.", examples=[0.87]
    )
    accuracy_low: float | None = Field(description="Lower end of the 95% interval.")
    accuracy_high: float | None = Field(description="Upper end of the 95% interval.")
    memory_bytes: float | None = Field(description="Bytes of the packed parameters.", examples=[41234])
    macs: float | None = Field(description="Multiply-adds per input.", examples=[20100000])
    file_bytes: float | None = Field(description="Bytes of the whole file.", examples=[43210])
    on_frontier: bool = Field(description="Whether no stored candidate, recovered or not, dominates it.")
    parent: int | None = Field(description="Candidate from which it was recovered.")
    seconds: float = Field(description="Duration of its evaluation in seconds.")
    verified: bool | None = Field(
        description="Whether every claim about it holds in its file; null if not verified yet."
    )
    measurements: list[Measurement]
