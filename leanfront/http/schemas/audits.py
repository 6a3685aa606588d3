"""Pydantic models of audits."""

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
        description="Kinds of audit, each once.",
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
        """Return the parameters of the job, without options that name files. Raises `UsageError`."""
        options = options_in(self, AuditOptions).to_json()
        return {
            "kinds": self.kinds,
            "options": {name: options[name] for name in shown(AuditOptions, network=True)},
        }


class SearchAuditRequest(AuditRequest):
    """An audit to queue of candidates of a search."""

    candidates: list[Annotated[int, Field(ge=1, le=LARGEST_ID)]] = Field(
        default=[],
        description="Ids; by default, if `levels` is not given either, members spread over the frontier.",
        max_length=MOST_AUDITED,
        json_schema_extra={"uniqueItems": True},
        examples=[[17, 23]],
    )

    @field_validator("candidates")
    @classmethod
    def _candidates(cls, value: list[int]) -> list[int]:
        return each_once(value)

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the job. Raises `UsageError`."""
        return {**super().parameters(), "candidates": self.candidates}


class AuditRow(BaseModel):
    """An audit in a list."""

    search: str = Field(examples=["mine"])
    candidate: int | None = Field(description="Null if the audit is of the whole search.", examples=[17])
    kind: str = Field(examples=["classes"])
    parameters: dict[str, Any] = Field(
        description="Options of the audit; paths on the worker's machine are cut to their last name."
    )
    release: str = Field(description="Release of leanfront that made it.", examples=["0.1.0"])
    created: str = Field(description="Time of the audit, ISO 8601, UTC.")


class Audit(AuditRow):
    """The latest audit of a kind."""

    document: dict[str, Any] = Field(description="Results, as `leanfront audit --json` prints them.")
