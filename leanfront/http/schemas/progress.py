"""The JSON of how a search's frontier grew, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.http.schemas.fields import FRONTIER_VERSION


class Progress(BaseModel):
    """How a frontier grew; every list has one entry a place along the trials, and none while the search waits."""

    search: str = Field(examples=["mine"])
    frontier_version: int = FRONTIER_VERSION
    trials: list[int] = Field(description="Trials stored by then.", examples=[[1, 100, 200]])
    hypervolume: list[float] = Field(
        description="Of the frontier by then, costs divided by the reference.", examples=[[0.1, 0.6, 0.7]]
    )
    hypervolume_log2: list[float] = Field(
        description="The same with costs as log2(reference / cost).", examples=[[0.2, 2.9, 3.2]]
    )
    frontier_size: list[int] = Field(description="Members by then.", examples=[[1, 18, 23]])
