"""Pydantic models of verifications."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Claim(BaseModel):
    """A claim about a candidate, and the value found."""

    name: str = Field(
        description="Name of the measurement, or sha256, configuration, artifact.", examples=["macs"]
    )
    split: str | None = Field(description="Data it was measured on; null if that does not apply.")
    claimed: float | str = Field(description="Stored value.", examples=[20100000])
    found: float | str | None = Field(
        description="Value found; null if it could not be found.", examples=[20100000]
    )
    tolerance: float = Field(description="Allowed difference; 0 if the value is exact.")
    unit: str
    ok: bool = Field(description="Whether the claim holds.")


class Verification(BaseModel):
    """Result of checking a candidate's claims against its packed file alone."""

    candidate: int = Field(examples=[17])
    ok: bool = Field(description="Whether every claim holds.")
    claims: list[Claim]
    unchecked: dict[str, str] = Field(description="Claim that a file cannot prove or refute -> reason.")
    release: str = Field(description="Release of leanfront that verified it.", examples=["0.1.0"])
    created: str = Field(description="Time of the verification, ISO 8601, UTC.")
