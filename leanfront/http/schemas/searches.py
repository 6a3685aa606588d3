"""The JSON of searches, as the OpenAPI document tells it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from leanfront.core.compressors import CRITERIA
from leanfront.core.compressors.configuration import METHODS, WEIGHT_BITS
from leanfront.core.cost_models import BACKENDS, LatencyOptions
from leanfront.core.cost_models.latency_options import LARGEST_BATCH, LARGEST_THREADS
from leanfront.core.objectives import METRICS, known_objectives
from leanfront.core.objectives.objective import FEWEST_OBJECTIVES, MOST_OBJECTIVES
from leanfront.core.search import SAMPLERS, STATES, SearchOptions, SpaceOptions
from leanfront.core.search.options import MOST_RECOVERED
from leanfront.core.search.space_options import ACTIVATION_MODES, SPARSITY_MODES
from leanfront.core.storage.searches import LONGEST_NAME
from leanfront.http.schemas.fields import LARGEST_EPOCHS, each_once, names_of, one_of
from leanfront.http.schemas.jobs import Job
from leanfront.http.schemas.measurements import Measurement

_DEFAULT = SearchOptions()
_SPACE = _DEFAULT.space
_LATENCY = LatencyOptions()


class SearchRequest(BaseModel):
    """A search to queue. What is left out is chosen as the command line does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: str = Field(
        description="Name of a registered target: see `GET /targets`.", max_length=64, examples=["digits"]
    )
    name: str | None = Field(
        default=None,
        description="Unique name; made from the target's when absent. Without '/' and control characters.",
        min_length=1,
        max_length=LONGEST_NAME,
        examples=["mine"],
    )
    trials: int = Field(_DEFAULT.trials, description="Trials to reach.", ge=1, le=1_000_000, examples=[200])
    minutes: float | None = Field(
        default=None, description="Wall-clock limit in minutes.", gt=0, le=100_000, allow_inf_nan=False
    )
    objectives: list[str] = Field(
        default=list(_DEFAULT.objectives),
        description="Costs and metrics, each once.",
        min_length=FEWEST_OBJECTIVES,
        max_length=MOST_OBJECTIVES,
        json_schema_extra=names_of(known_objectives()),
    )
    bits: list[int] = Field(
        default=list(_SPACE.bits),
        description="Weight bit-widths to choose from.",
        min_length=1,
        max_length=len(WEIGHT_BITS) + 1,
        json_schema_extra={"items": {"type": "integer", "enum": [*WEIGHT_BITS, 32]}},
    )
    criterion: str = one_of(CRITERIA, "Ranks channels and weights.", _SPACE.criterion)
    method: str = one_of(METHODS, "Makes the kept weights.", _SPACE.method)
    sparsity: str = one_of(SPARSITY_MODES, "Zeroed weights.", _SPACE.sparsity)
    activation_bits: str = one_of(ACTIVATION_MODES, "Bits of activations.", _SPACE.activation_bits)
    sampler: str = one_of(SAMPLERS, "Proposes configurations.", _DEFAULT.sampler)
    seed: int = Field(_DEFAULT.seed, description="The same seed gives the same trials.", ge=0, lt=2**32)
    samples: int = Field(_DEFAULT.samples, description="Calibration samples.", ge=2, le=1_000_000)
    false_elimination: float = Field(
        _DEFAULT.false_elimination,
        description="Largest share of better candidates that may be stopped early, in [0, 1); 0 stops none.",
        ge=0,
        lt=1,
        allow_inf_nan=False,
    )
    latency_backend: str | None = Field(
        default=None,
        description="What latency is measured in, on the runner's machine. Given any of these three, or latency as "
        f"an objective, every candidate has a predicted latency; {_LATENCY.backend} by default.",
        max_length=100,
        json_schema_extra={"enum": [*BACKENDS, None]},
    )
    latency_threads: int | None = Field(
        default=None, description="Threads of one run; 1 by default.", ge=1, le=LARGEST_THREADS
    )
    latency_batch: int | None = Field(
        default=None, description="Inputs of one run; 1 by default.", ge=1, le=LARGEST_BATCH
    )

    recover: int | None = Field(
        default=None,
        description="Epochs that the frontier's most promising members are trained for when the trials are done.",
        ge=1,
        le=LARGEST_EPOCHS,
    )
    recover_minutes: float | None = Field(
        default=None,
        description=f"Time for that, on top of `minutes`; without, {MOST_RECOVERED} are trained. Only with "
        "`recover`.",
        gt=0,
        le=100_000,
        allow_inf_nan=False,
    )
    metrics: list[str] = Field(
        default=list(_DEFAULT.metrics),
        description="That every candidate is measured by which is evaluated to its end, each once; the objectives "
        "and what costs no evaluation of its own are always measured.",
        max_length=100,
        json_schema_extra=names_of(METRICS),
        examples=[["mce"]],
    )

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, value: list[str]) -> list[str]:
        return each_once(value, METRICS)

    def options(self) -> SearchOptions:
        """As the search takes them. Raises `UsageError`."""
        return SearchOptions(
            trials=self.trials,
            minutes=self.minutes,
            objectives=tuple(self.objectives),
            space=SpaceOptions(
                tuple(self.bits),
                self.activation_bits,
                self.sparsity,
                self.criterion,
                self.method,
                seed=self.seed,
            ),
            sampler=self.sampler,
            seed=self.seed,
            samples=self.samples,
            false_elimination=self.false_elimination,
            latency=LatencyOptions.of(self.latency_backend, self.latency_threads, self.latency_batch),
            recover=self.recover,
            recover_minutes=self.recover_minutes,
            metrics=tuple(self.metrics),
        )


class SearchRow(BaseModel):
    """A search in a list."""

    name: str = Field(examples=["mine"])
    target: str = Field(examples=["digits"])
    state: str = Field(
        description="Where the search is.", json_schema_extra={"enum": list(STATES)}, examples=["running"]
    )
    message: str | None = Field(description="Why it ended, for people.")
    objectives: list[str] = Field(examples=[["accuracy", "memory", "macs"]])
    trials: int = Field(description="Trials stored so far.", examples=[120])
    frontier_size: int = Field(description="Members of the frontier.", examples=[23])
    hypervolume: float = Field(
        description="Of the frontier, costs divided by the reference.", examples=[0.71]
    )
    hypervolume_log2: float = Field(description="The same with costs as log2(reference / cost).")
    created: str = Field(description="ISO 8601, UTC.", examples=["2026-05-04T12:00:00+00:00"])


class Search(SearchRow):
    """A search with its progress."""

    goal: int = Field(description="Trials wanted.", examples=[200])
    seed: int
    reference: dict[str, float] = Field(description="Hypervolume reference by objective; empty while queued.")
    fingerprint: str = Field(description="Of the target: weights, splits, source; empty while queued.")
    frontier_version: int = Field(description="Grows with every change of the frontier.")
    registered: str | None = Field(description="The operator's name of the target.")
    dense: list[Measurement] = Field(description="Of the uncompressed model; empty while queued.")
    job: Job
