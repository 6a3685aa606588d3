"""Pydantic models of a candidate's neighbours on the frontier."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.http.schemas.candidates import Candidate


class Step(BaseModel):
    """The step from a candidate to a neighbouring frontier member."""

    candidate: Candidate
    accuracy: float = Field(description="Accuracy of the member minus that of the candidate.")
    cost: float = Field(description="Cost of the member minus that of the candidate, in the cost's unit.")
    rate: float | None = Field(description="Accuracy per 1,000 bytes or million multiply-adds.")


class Neighbours(BaseModel):
    """The frontier members next to a candidate, by cost."""

    candidate: int
    cheaper: dict[str, Step | None] = Field(description="Most expensive member that costs less.")
    better: dict[str, Step | None] = Field(description="Cheapest member that is more accurate.")
