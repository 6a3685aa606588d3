"""Pydantic models of candidates as columns."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.core.search.candidate import CANDIDATE_STATES
from leanfront.http.schemas.fields import FRONTIER_VERSION, NEXT


class Column(BaseModel):
    """One measurement of the candidates, in the order of `ids`."""

    name: str = Field(examples=["accuracy"])
    split: str | None = Field(description="Data it was measured on; null for costs.", examples=["validation"])
    unit: str = Field(description="Unit of value, low and high; '1' for shares.", examples=["1"])
    value: list[float | None] = Field(description="Values; null where not measured.", examples=[[0.87, 0.91]])
    low: list[float | None] = Field(
        description="Lower ends of the 95% intervals; null without sampling error.", examples=[[0.85, 0.89]]
    )
    high: list[float | None] = Field(description="Upper ends.", examples=[[0.89, 0.93]])


class Columns(BaseModel):
    """Candidates in order of id; every list has one entry per candidate."""

    search: str = Field(examples=["mine"])
    frontier_version: int = FRONTIER_VERSION
    ids: list[int] = Field(examples=[[17, 18]])
    trials: list[int] = Field(description="Numbers of the trials that made them.", examples=[[16, 17]])
    states: list[str] = Field(
        json_schema_extra={"items": {"type": "string", "enum": list(CANDIDATE_STATES)}},
        examples=[["complete", "stopped"]],
    )
    on_frontier: list[bool] = Field(
        description="Whether no stored candidate, recovered or not, dominates it.", examples=[[True, False]]
    )
    parents: list[int | None] = Field(
        description="Candidates from which they were recovered, or null.", examples=[[None, 4]]
    )
    columns: dict[str, Column] = Field(description="Requested column -> its values.")
    next: str | None = NEXT
