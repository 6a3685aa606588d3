"""Pydantic model of the growth of a search's frontier."""

from __future__ import annotations

from pydantic import BaseModel, Field

from leanfront.http.schemas.fields import FRONTIER_VERSION


class Progress(BaseModel):
    """Growth of a frontier; every list has one entry per place along the trials, or none if the search is queued."""

    search: str = Field(examples=["mine"])
    frontier_version: int = FRONTIER_VERSION
    trials: list[int] = Field(description="Number of stored trials.", examples=[[1, 100, 200]])
    hypervolume: list[float] = Field(
        description="Hypervolume after these trials, costs divided by the reference.",
        examples=[[0.1, 0.6, 0.7]],
    )
    hypervolume_log2: list[float] = Field(
        description="The same with costs as log2(reference / cost).", examples=[[0.2, 2.9, 3.2]]
    )
    frontier_size: list[int] = Field(description="Number of members.", examples=[[1, 18, 23]])
