"""The JSON of audits, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from leanfront.core.audit import KINDS, AuditOptions
from leanfront.http.schemas.fields import each_once, names_of, options_in, with_options
from leanfront.http.settings import LARGEST_ID
from leanfront.options import shown

MOST_AUDITED = 100
_LONGEST_LIST = 100


@with_options(AuditOptions)
class AuditRequest(BaseModel):
    """An audit to queue. Defaults are those of the command line."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kinds: list[str] = Field(
        description="What to look at, each once.",
        min_length=1,
        max_length=_LONGEST_LIST,
        json_schema_extra=names_of(KINDS),
        examples=[["classes", "calibration"]],
    )

    @field_validator("kinds")
    @classmethod
    def _kinds(cls, value: list[str]) -> list[str]:
        return each_once(value, KINDS)

    def parameters(self) -> dict[str, Any]:
        """Parameters of the job, without options that name files. Raises `UsageError`."""
        options = options_in(self, AuditOptions).to_json()
        return {
            "kinds": self.kinds,
            "options": {name: options[name] for name in shown(AuditOptions, network=True)},
        }


class SearchAuditRequest(AuditRequest):
    """An audit of a search's candidates to queue."""

    candidates: list[Annotated[int, Field(ge=1, le=LARGEST_ID)]] = Field(
        default=[],
        description="Ids; without any, and without `levels`, some that are spread over the frontier.",
        max_length=MOST_AUDITED,
        json_schema_extra={"uniqueItems": True},
        examples=[[17, 23]],
    )

    @field_validator("candidates")
    @classmethod
    def _candidates(cls, value: list[int]) -> list[int]:
        return each_once(value)

    def parameters(self) -> dict[str, Any]:
        """Of the job. Raises `UsageError`."""
        return {**super().parameters(), "candidates": self.candidates}


class AuditRow(BaseModel):
    """An audit in a list."""

    search: str = Field(examples=["mine"])
    candidate: int | None = Field(description="Null where it is about the search as a whole.", examples=[17])
    kind: str = Field(examples=["classes"])
    parameters: dict[str, Any] = Field(
        description="How it was made; of what names files on the worker's machine only the last name."
    )
    release: str = Field(description="Of leanfront that audited.", examples=["0.1.0"])
    created: str = Field(description="ISO 8601, UTC.")


class Audit(AuditRow):
    """What the last audit of a kind found."""

    document: dict[str, Any] = Field(description="What it found, as `leanfront audit --json` prints it.")
