"""Pydantic models of searches."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from leanfront.core.search import STATES, SearchOptions
from leanfront.core.storage.searches import LONGEST_NAME
from leanfront.http.schemas.fields import options_in, with_options
from leanfront.http.schemas.jobs import Job
from leanfront.http.schemas.measurements import Measurement


@with_options(SearchOptions)
class SearchRequest(BaseModel):
    """A search to queue. Defaults are those of the command line."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: str = Field(
        description="Name of a registered target: see `GET /targets`.", max_length=64, examples=["digits"]
    )
    name: str | None = Field(
        default=None,
        description="Unique name, without '/' and control characters; by default made from the target's name.",
        min_length=1,
        max_length=LONGEST_NAME,
        examples=["mine"],
    )

    def options(self) -> SearchOptions:
        """Return the options of the search. Raises `UsageError`."""
        return options_in(self, SearchOptions)


class SearchRow(BaseModel):
    """A search in a list."""

    name: str = Field(examples=["mine"])
    target: str = Field(examples=["digits"])
    state: str = Field(
        description="State of the search.", json_schema_extra={"enum": list(STATES)}, examples=["running"]
    )
    message: str | None = Field(description="Reason of its end, as text.")
    objectives: list[str] = Field(examples=[["accuracy", "memory", "macs"]])
    trials: int = Field(description="Number of stored trials.", examples=[120])
    frontier_size: int = Field(description="Number of members of the frontier.", examples=[23])
    hypervolume: float = Field(
        description="Hypervolume of the frontier, costs divided by the reference.", examples=[0.71]
    )
    hypervolume_log2: float = Field(description="The same with costs as log2(reference / cost).")
    created: str = Field(
        description="Time of creation, ISO 8601, UTC.", examples=["2026-05-04T12:00:00+00:00"]
    )


class Search(SearchRow):
    """A search with its progress."""

    goal: int = Field(description="Number of trials to reach.", examples=[200])
    seed: int
    reference: dict[str, float] = Field(
        description="Reference point of the hypervolume by objective; empty while queued."
    )
    fingerprint: str = Field(
        description="Fingerprint of the target: weights, splits, source; empty while queued."
    )
    frontier_version: int = Field(description="Grows with every change of the frontier.")
    registered: str | None = Field(description="Registered name of the target.")
    dense: list[Measurement] = Field(description="Measurements of the dense model; empty while queued.")
    job: Job
