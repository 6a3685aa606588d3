"""The JSON of a candidate's neighbours on the frontier, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.http.schemas.candidates import Candidate


class Step(BaseModel):
    """From a candidate to a frontier member beside it."""

    candidate: Candidate
    accuracy: float = Field(description="The member's accuracy less the candidate's.")
    cost: float = Field(description="The member's cost less the candidate's, in its unit.")
    rate: float | None = Field(description="Accuracy per 1,000 bytes or million multiply-adds.")


class Neighbours(BaseModel):
    """The frontier members next to a candidate, by cost."""

    candidate: int
    cheaper: dict[str, Step | None] = Field(description="The dearest member that costs less.")
    better: dict[str, Step | None] = Field(description="The cheapest member that is more accurate.")
