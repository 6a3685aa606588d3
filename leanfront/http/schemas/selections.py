"""The JSON of answers to budget queries, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from leanfront.http.schemas.candidates import Candidate


class Unmeasured(BaseModel):
    """What an answer leaves open. `POST /searches/{name}/measure` has a worker measure it."""

    metrics: list[str] = Field(
        description="Limited, and not measured on all of the candidates.", examples=[["mce"]]
    )
    candidates: list[int] = Field(
        description="Ids of some that may be a better answer, most accurate first: all their other limits hold.",
        examples=[[17, 23]],
    )


_UNMEASURED = Field(
    default=None,
    description="Candidates that may be a better answer, on which something that is limited was not measured; absent "
    "when there are none. They are never passed for holding the budget.",
)


class Feasible(BaseModel):
    """A candidate holds the budget."""

    feasible: Literal[True]
    strategy: str = Field(examples=["accuracy"])
    candidate: Candidate
    unmeasured: Unmeasured | None = _UNMEASURED
    note: str | None = Field(default=None, description="What the reader should know; absent when nothing.")


class Infeasible(BaseModel):
    """No candidate holds the budget."""

    feasible: Literal[False]
    nearest: Candidate | None = Field(description="The candidate of least normalised violation.")
    violations: dict[str, float | None] = Field(
        description="By how much `nearest` breaks each limit, in its unit; null where it was not measured.",
        examples=[{"memory_bytes": 1234}],
    )
    binding: str | None = Field(description="The limit broken most.", examples=["memory_bytes"])
    cheapest: dict[str, Any] | None = Field(description="The least that the search space reaches, by cost.")
    unmeasured: Unmeasured | None = _UNMEASURED
    note: str | None = Field(default=None, description="What the reader should know; absent when nothing.")
