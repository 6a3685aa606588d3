"""The JSON of candidates, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from leanfront.core.search.candidate import CANDIDATE_STATES
from leanfront.http.schemas.measurements import Measurement


class Configuration(BaseModel):
    """What was done to the model; what is not named is left as it is."""

    version: int = Field(examples=[1])
    channels: dict[str, int] = Field(description="Channel group -> kept units.", examples=[{"layer1": 12}])
    weight_bits: dict[str, int] = Field(description="Layer -> bits per weight.", examples=[{"conv1": 4}])
    activation_bits: dict[str, int] = Field(description="Layer -> bits of its input.")
    sparsity: dict[str, float | str] = Field(description="Layer -> share of zeroed weights, or '2:4'.")
    criterion: str
    method: str
    activation_range: str
    seed: int
    recovery: list[dict[str, Any]] = Field(
        default=[], description="How it was trained since, one entry a recovery; absent where it was not."
    )


class Candidate(BaseModel):
    """An evaluated configuration. Counts of bytes and multiply-adds are exact."""

    id: int = Field(examples=[17])
    search: str = Field(examples=["mine"])
    trial: int = Field(description="Number of the trial that made it.")
    state: str = Field(json_schema_extra={"enum": list(CANDIDATE_STATES)})
    reason: str | None = Field(description="Why it failed or was stopped.")
    configuration: Configuration
    accuracy: float | None = Field(description="Top-1 on the validation split, in [0, 1].", examples=[0.87])
    accuracy_low: float | None = Field(description="Lower end of the 95% interval.")
    accuracy_high: float | None = Field(description="Upper end of the 95% interval.")
    memory_bytes: float | None = Field(description="Bytes of the packed parameters.", examples=[41234])
    macs: float | None = Field(description="Multiply-adds of one input.", examples=[20100000])
    file_bytes: float | None = Field(description="Bytes of the whole file.", examples=[43210])
    on_frontier: bool = Field(description="Whether nothing stored, recovered or not, dominates it.")
    parent: int | None = Field(description="Candidate it was recovered from.")
    seconds: float = Field(description="Wall-clock time of its evaluation in seconds.")
    verified: bool | None = Field(
        description="Whether all that is claimed of it was found in its file; null while nobody has looked."
    )
    measurements: list[Measurement]
