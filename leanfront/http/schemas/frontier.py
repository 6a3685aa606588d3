"""Pydantic models of a search's frontier."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from leanfront.core.search.candidate import Stage
from leanfront.http.schemas.candidates import Candidate
from leanfront.http.schemas.fields import NEXT
from leanfront.http.schemas.measurements import Measurement


class Dense(BaseModel):
    """The dense model: its measurements, and each cost and validation metric under its name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    measurements: list[Measurement]


class Frontier(BaseModel):
    """Nondominated candidates within limits."""

    search: str = Field(examples=["mine"])
    stage: Stage = Field(description="Before recovery, or after.", examples=["after"])
    dense: Dense
    reference: dict[str, float] = Field(
        description="Reference point of the hypervolume.", examples=[{"accuracy": 0.1, "memory": 305000.0}]
    )
    hypervolume: float = Field(
        description="Hypervolume of the whole frontier after recovery, costs divided by the reference."
    )
    hypervolume_log2: float = Field(description="The same with costs as log2(reference / cost).")
    candidates: list[Candidate] = Field(description="Candidates in the requested order.")
    next: str | None = NEXT


class Hypervolume(BaseModel):
    """Quality of the frontier."""

    search: str = Field(examples=["mine"])
    hypervolume: float = Field(description="Hypervolume, costs divided by the reference.", examples=[0.71])
    hypervolume_log2: float = Field(
        description="The same with costs as log2(reference / cost).", examples=[3.2]
    )
    reference: dict[str, float] = Field(description="Reference point of the hypervolume by objective.")
    frontier_size: int
    frontier_version: int
