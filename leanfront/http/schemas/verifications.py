"""The JSON of what came of verifying candidates, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Claim(BaseModel):
    """One thing that is claimed of a candidate, and what was found."""

    name: str = Field(
        description="Of the measurement, or sha256, configuration, artifact.", examples=["macs"]
    )
    split: str | None = Field(description="Data it was measured on; null where that does not matter.")
    claimed: float | str = Field(description="As it is stored.", examples=[20100000])
    found: float | str | None = Field(description="Null where it could not be found.", examples=[20100000])
    tolerance: float = Field(description="By how much they may differ; 0 where they are exact.")
    unit: str
    ok: bool = Field(description="Whether it holds.")


class Verification(BaseModel):
    """What was found of a candidate's claims in its packed file alone."""

    candidate: int = Field(examples=[17])
    ok: bool = Field(description="Whether every claim holds.")
    claims: list[Claim]
    unchecked: dict[str, str] = Field(description="What a file cannot tell -> why.")
    release: str = Field(description="Of leanfront that verified.", examples=["0.1.0"])
    created: str = Field(description="ISO 8601, UTC.")
