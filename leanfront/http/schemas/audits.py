"""The JSON of audits, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from leanfront.core.audit import KINDS, LEVELS, PATHS, AuditOptions
from leanfront.core.audit.options import POPULATIONS, SEVERITIES, SPLITS, TICKETS
from leanfront.core.compressors import CRITERIA
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.objectives.corruptions import CORRUPTIONS
from leanfront.http.schemas.fields import each_once, names_of, one_of
from leanfront.http.settings import LARGEST_ID

_DEFAULT = AuditOptions()
MOST_MODELS = 100
MOST_SAMPLES = 10_000
LARGEST_GALLERY = 200
MOST_AUDITED = 100
_LONGEST_LIST = 100


class AuditRequest(BaseModel):
    """An audit to queue. What is left out is chosen as the command line does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kinds: list[str] = Field(
        description="What to look at, each once.",
        min_length=1,
        max_length=_LONGEST_LIST,
        json_schema_extra=names_of(KINDS),
        examples=[["classes", "calibration"]],
    )
    population: str = one_of(
        POPULATIONS,
        "What classes and exemplars compare: re-calibrations of the model, or models trained anew.",
        _DEFAULT.population,
    )
    models: int = Field(_DEFAULT.models, description="Of a population.", ge=1, le=MOST_MODELS)
    levels: list[str] = Field(
        default=list(_DEFAULT.levels),
        description="Sets of compressed versions to compare with besides.",
        max_length=_LONGEST_LIST,
        json_schema_extra=names_of(LEVELS),
        examples=[["quantisation"]],
    )
    split: str | None = one_of(
        (*SPLITS, None), "Whose samples; `test` where the target has one.", _DEFAULT.split
    )
    samples: int = Field(
        _DEFAULT.samples,
        description="Images that are corrupted, made noisy and attacked, at most.",
        ge=1,
        le=MOST_SAMPLES,
    )
    corruptions: list[str] = Field(
        default=list(_DEFAULT.corruptions),
        description="Of the images, each once.",
        min_length=1,
        max_length=_LONGEST_LIST,
        json_schema_extra=names_of(CORRUPTIONS),
        examples=[["gaussian_noise", "fog"]],
    )
    severities: list[int] = Field(
        default=list(_DEFAULT.severities),
        description="Of the corruptions, each once.",
        min_length=1,
        max_length=len(SEVERITIES),
        json_schema_extra={"items": {"type": "integer", "enum": list(SEVERITIES)}, "uniqueItems": True},
        examples=[[1, 3, 5]],
    )
    gallery: int = Field(
        _DEFAULT.gallery, description="Exemplars that are shown with their image.", ge=0, le=LARGEST_GALLERY
    )
    criteria: list[str] = Field(
        default=list(_DEFAULT.criteria),
        description="Whose geometry is compared: pruning criteria, and `tickets`, each once.",
        min_length=1,
        max_length=_LONGEST_LIST,
        json_schema_extra=names_of((*CRITERIA, TICKETS)),
        examples=[["l1", "reconstruction"]],
    )
    ratios: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=list(_DEFAULT.ratios),
        description="Shares of zero weights at which it is, each once.",
        min_length=1,
        max_length=_LONGEST_LIST,
        json_schema_extra={"uniqueItems": True},
        examples=[[0.5, 0.9]],
    )
    criterion: str = one_of(
        CRITERIA, "What ranks the weights that the audit of limits prunes.", _DEFAULT.criterion
    )
    method: str = one_of(METHODS, "What makes the weights there.", _DEFAULT.method)
    seed: int = Field(_DEFAULT.seed, description="Of everything random.", ge=0, lt=2**31)

    @field_validator("criteria")
    @classmethod
    def _criteria(cls, value: list[str]) -> list[str]:
        return each_once(value, (*CRITERIA, TICKETS))

    @field_validator("ratios")
    @classmethod
    def _ratios(cls, value: list[float]) -> list[float]:
        return each_once(value)

    @field_validator("kinds")
    @classmethod
    def _kinds(cls, value: list[str]) -> list[str]:
        return each_once(value, KINDS)

    @field_validator("levels")
    @classmethod
    def _levels(cls, value: list[str]) -> list[str]:
        return each_once(value, LEVELS)

    @field_validator("corruptions")
    @classmethod
    def _corruptions(cls, value: list[str]) -> list[str]:
        return each_once(value, CORRUPTIONS)

    @field_validator("severities")
    @classmethod
    def _severities(cls, value: list[int]) -> list[int]:
        return each_once(value, SEVERITIES)

    def parameters(self) -> dict[str, Any]:
        """Of the job: what names files is none of it. Raises `UsageError`."""
        own = self.model_dump(exclude={"kinds", "candidates"})
        options = AuditOptions.from_json(own).to_json()
        return {
            "kinds": self.kinds,
            "options": {key: value for key, value in options.items() if key not in PATHS},
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
