"""Pydantic models of answers to budget queries."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from leanfront.http.schemas.candidates import Candidate


class Unmeasured(BaseModel):
    """Missing measurements of an answer. `POST /searches/{name}/measure` has a worker make them."""

    metrics: list[str] = Field(
        description="Limited metrics that are not measured on all candidates.", examples=[["mce"]]
    )
    candidates: list[int] = Field(
        description="Ids of some candidates that may be better, most accurate first; they meet all other limits.",
        examples=[[17, 23]],
    )


_UNMEASURED = Field(
    default=None,
    description="Candidates that may be a better answer but lack a limited measurement; omitted if there are none. "
    "They are never taken to meet the budget.",
)


class Feasible(BaseModel):
    """A candidate within the budget."""

    feasible: Literal[True]
    strategy: str = Field(examples=["accuracy"])
    candidate: Candidate
    unmeasured: Unmeasured | None = _UNMEASURED
    note: str | None = Field(default=None, description="Remark for the reader; omitted if there is none.")


class Infeasible(BaseModel):
    """No candidate is within the budget."""

    feasible: Literal[False]
    nearest: Candidate | None = Field(description="Candidate of least normalised violation.")
    violations: dict[str, float | None] = Field(
        description="Amount by which `nearest` violates each limit, in its unit; null where not measured.",
        examples=[{"memory_bytes": 1234}],
    )
    binding: str | None = Field(description="The most violated limit.", examples=["memory_bytes"])
    cheapest: dict[str, Any] | None = Field(
        description="Lowest values that the search space reaches, by cost."
    )
    unmeasured: Unmeasured | None = _UNMEASURED
    note: str | None = Field(default=None, description="Remark for the reader; omitted if there is none.")
