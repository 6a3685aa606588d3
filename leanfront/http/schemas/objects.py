"""The JSON of requests and answers, as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from leanfront.core.compressors import CRITERIA, Recovery
from leanfront.core.compressors.configuration import METHODS, WEIGHT_BITS
from leanfront.core.cost_models import BACKENDS, LatencyOptions
from leanfront.core.cost_models.backends import LARGEST_BATCH, MOST_THREADS
from leanfront.core.objectives import METRICS, known_objectives
from leanfront.core.objectives.objective import FEWEST, MOST
from leanfront.core.search import SAMPLERS, STATES, SearchOptions, SpaceOptions
from leanfront.core.search.candidate import CANDIDATE_STATES
from leanfront.core.search.recovering import MOST as PROMOTED
from leanfront.core.search.space import ACTIVATION_MODES, SPARSITY_MODES
from leanfront.core.storage.searches import LONGEST_NAME
from leanfront.http.schemas.fields import each_once, names_of, one_of

_DEFAULT = SearchOptions()
_SPACE = _DEFAULT.space
_LATENCY = LatencyOptions()
_RECOVERY = Recovery()
MOST_EPOCHS = 100_000
_STATE = Field(
    description="Where the search is.", json_schema_extra={"enum": list(STATES)}, examples=["running"]
)


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
        min_length=FEWEST,
        max_length=MOST,
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
        default=None, description="Threads of one run; 1 by default.", ge=1, le=MOST_THREADS
    )
    latency_batch: int | None = Field(
        default=None, description="Inputs of one run; 1 by default.", ge=1, le=LARGEST_BATCH
    )

    recover: int | None = Field(
        default=None,
        description="Epochs that the frontier's most promising members are trained for when the trials are done.",
        ge=1,
        le=MOST_EPOCHS,
    )
    recover_minutes: float | None = Field(
        default=None,
        description=f"Time for that, on top of `minutes`; without, {PROMOTED} are trained. Only with `recover`.",
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


class RecoveryRequest(BaseModel):
    """A recovery to queue."""

    model_config = ConfigDict(extra="forbid", strict=True)

    epochs: int = Field(
        default=_RECOVERY.epochs, description="Passes over the training split.", ge=1, le=MOST_EPOCHS
    )
    minutes: float | None = Field(
        default=None,
        description="Wall-clock limit; ends with the best so far.",
        gt=0,
        le=100_000,
        allow_inf_nan=False,
    )
    seed: int = Field(default=_RECOVERY.seed, description="Of everything random.", ge=0, lt=2**31)

    def parameters(self) -> dict[str, Any]:
        """Of the job."""
        minutes = {} if self.minutes is None else {"minutes": self.minutes}
        return {"epochs": self.epochs, "seed": self.seed, **minutes}


class Measurement(BaseModel):
    """A measured number."""

    name: str = Field(examples=["accuracy"])
    split: str | None = Field(description="Data it was measured on; null for costs.", examples=["validation"])
    value: float | None = Field(description="In `unit`; null where the measurement failed.", examples=[0.87])
    low: float | None = Field(description="Lower end of the 95% interval; null without sampling error.")
    high: float | None = Field(description="Upper end of the 95% interval.")
    count: int | None = Field(description="Samples behind the value.", examples=[2000])
    unit: str = Field(description="Of value, low and high; '1' for shares.", examples=["1"])


class Configuration(BaseModel):
    """What was done to the model; what is not named is left as it is."""

    version: int = Field(examples=[1])
    channels: dict[str, int] = Field(description="Channel group -> kept units.", examples=[{"layer1": 12}])
    weight_bits: dict[str, int] = Field(description="Layer -> bits per weight.", examples=[{"conv1": 4}])
    activation_bits: dict[str, int] = Field(description="Layer -> bits of its input.")
    sparsity: dict[str, float | str] = Field(description="Layer -> share of zeroed weights, or '2:4'.")
    criterion: str
    method: str
    activation_range: str
    seed: int
    recovery: list[dict[str, Any]] = Field(
        default=[], description="How it was trained since, one entry a recovery; absent where it was not."
    )


class Candidate(BaseModel):
    """An evaluated configuration. Counts of bytes and multiply-adds are exact."""

    id: int = Field(examples=[17])
    search: str = Field(examples=["mine"])
    trial: int = Field(description="Number of the trial that made it.")
    state: str = Field(json_schema_extra={"enum": list(CANDIDATE_STATES)})
    reason: str | None = Field(description="Why it failed or was stopped.")
    configuration: Configuration
    accuracy: float | None = Field(description="Top-1 on the validation split, in [0, 1].", examples=[0.87])
    accuracy_low: float | None = Field(description="Lower end of the 95% interval.")
    accuracy_high: float | None = Field(description="Upper end of the 95% interval.")
    memory_bytes: float | None = Field(description="Bytes of the packed parameters.", examples=[41234])
    macs: float | None = Field(description="Multiply-adds of one input.", examples=[20100000])
    file_bytes: float | None = Field(description="Bytes of the whole file.", examples=[43210])
    on_frontier: bool = Field(description="Whether nothing stored, recovered or not, dominates it.")
    parent: int | None = Field(description="Candidate it was recovered from.")
    seconds: float = Field(description="Wall-clock time of its evaluation in seconds.")
    verified: bool | None = Field(
        description="Whether all that is claimed of it was found in its file; null while nobody has looked."
    )
    measurements: list[Measurement]


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


class Dense(BaseModel):
    """The uncompressed model: its measurements, and each cost and validation metric under its name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    measurements: list[Measurement]


class Frontier(BaseModel):
    """Nondominated candidates within limits."""

    search: str = Field(examples=["mine"])
    stage: Literal["before", "after"] = Field(description="Before recovery, or after.", examples=["after"])
    dense: Dense
    reference: dict[str, float] = Field(
        description="Hypervolume reference by objective.", examples=[{"accuracy": 0.1, "memory": 305000.0}]
    )
    hypervolume: float = Field(
        description="Of the whole frontier after recovery, costs divided by the reference."
    )
    hypervolume_log2: float = Field(description="The same with costs as log2(reference / cost).")
    candidates: list[Candidate] = Field(description="In the order asked for.")
    next: str | None = Field(
        default=None,
        description="Cursor of the next page; absent on the last. The header Link holds its address.",
    )


class Unmeasured(BaseModel):
    """What an answer leaves open. `POST /searches/{name}/measure` has a worker measure it."""

    metrics: list[str] = Field(
        description="Limited, and not measured on all of the candidates.", examples=[["mce"]]
    )
    candidates: list[int] = Field(
        description="Ids of some that may be a better answer, most accurate first: all their other limits hold.",
        examples=[[17, 23]],
    )


_UNMEASURED = Field(
    default=None,
    description="Candidates that may be a better answer, on which something that is limited was not measured; absent "
    "when there are none. They are never passed for holding the budget.",
)


class Feasible(BaseModel):
    """A candidate holds the budget."""

    feasible: Literal[True]
    strategy: str = Field(examples=["accuracy"])
    candidate: Candidate
    unmeasured: Unmeasured | None = _UNMEASURED
    note: str | None = Field(default=None, description="What the reader should know; absent when nothing.")


class Infeasible(BaseModel):
    """No candidate holds the budget."""

    feasible: Literal[False]
    nearest: Candidate | None = Field(description="The candidate of least normalised violation.")
    violations: dict[str, float | None] = Field(
        description="By how much `nearest` breaks each limit, in its unit; null where it was not measured.",
        examples=[{"memory_bytes": 1234}],
    )
    binding: str | None = Field(description="The limit broken most.", examples=["memory_bytes"])
    cheapest: dict[str, Any] | None = Field(description="The least that the search space reaches, by cost.")
    unmeasured: Unmeasured | None = _UNMEASURED
    note: str | None = Field(default=None, description="What the reader should know; absent when nothing.")


class SearchRow(BaseModel):
    """A search in a list."""

    name: str = Field(examples=["mine"])
    target: str = Field(examples=["digits"])
    state: str = _STATE
    message: str | None = Field(description="Why it ended, for people.")
    objectives: list[str] = Field(examples=[["accuracy", "memory", "macs"]])
    trials: int = Field(description="Trials stored so far.", examples=[120])
    frontier_size: int = Field(description="Members of the frontier.", examples=[23])
    hypervolume: float = Field(
        description="Of the frontier, costs divided by the reference.", examples=[0.71]
    )
    hypervolume_log2: float = Field(description="The same with costs as log2(reference / cost).")
    created: str = Field(description="ISO 8601, UTC.", examples=["2026-05-04T12:00:00+00:00"])


class Job(BaseModel):
    """A piece of work for a worker."""

    id: int = Field(examples=[3])
    kind: str = Field(examples=["search"])
    search: str = Field(examples=["mine"])
    candidate: int | None = Field(description="Candidate it is about, if it is about one.")
    state: str = Field(
        json_schema_extra={"enum": [*STATES, "cancelling"]}, description="Where it is.", examples=["running"]
    )
    message: str | None = Field(description="How it ended, for people.")
    created: str | None = Field(description="ISO 8601, UTC.")
    ended: str | None = Field(description="ISO 8601, UTC; null until it has ended.")


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


class Hypervolume(BaseModel):
    """How good the frontier is."""

    search: str = Field(examples=["mine"])
    hypervolume: float = Field(description="Costs divided by the reference.", examples=[0.71])
    hypervolume_log2: float = Field(description="Costs as log2(reference / cost).", examples=[3.2])
    reference: dict[str, float] = Field(description="By objective.")
    frontier_size: int
    frontier_version: int


class Coverage(BaseModel):
    """What of the model can be compressed, what is left alone, and why."""

    parameters: int
    memory_bytes: int = Field(description="Of the dense model.")
    macs: int = Field(description="Multiply-adds of the dense model.")
    quantisable_bytes: float = Field(description="Share of the bytes, in [0, 1].")
    prunable_bytes: float = Field(description="Share of the bytes, in [0, 1].")
    quantisable_macs: float = Field(description="Share of the multiply-adds, in [0, 1].")
    prunable_macs: float = Field(description="Share of the multiply-adds, in [0, 1].")
    groups: list[dict[str, Any]] = Field(description="Channel groups.")
    layers: list[dict[str, Any]]
    exclusions: list[dict[str, Any]] = Field(description="What is left alone, with the reason.")
    unsupported_operators: dict[str, int] = Field(
        description="Operators whose multiply-adds are not counted."
    )


class Step(BaseModel):
    """From a candidate to a frontier member beside it."""

    candidate: Candidate
    accuracy: float = Field(description="The member's accuracy less the candidate's.")
    cost: float = Field(description="The member's cost less the candidate's, in its unit.")
    rate: float | None = Field(description="Accuracy per 1,000 bytes or million multiply-adds.")


class Neighbours(BaseModel):
    """The frontier members next to a candidate, by cost."""

    candidate: int
    cheaper: dict[str, Step | None] = Field(description="The dearest member that costs less.")
    better: dict[str, Step | None] = Field(description="The cheapest member that is more accurate.")


class Compared(BaseModel):
    """One measurement of several candidates, in their order."""

    name: str
    split: str | None
    unit: str
    value: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Choice(BaseModel):
    """Something in which the configurations differ."""

    choice: str = Field(examples=["weight_bits"])
    of: str | None = Field(description="Layer or channel group.", examples=["conv1"])
    values: list[Any] = Field(description="Null where it is left as it is.", examples=[[4, 8]])


class Comparison(BaseModel):
    """Candidates side by side; every list has one entry a candidate."""

    ids: list[int] = Field(examples=[[17, 23]])
    searches: list[str]
    measurements: list[Compared]
    choices: list[Choice]


class Target(BaseModel):
    """A target that the operator offers."""

    name: str = Field(examples=["digits"])
    description: str


class Worker(BaseModel):
    """A process that takes jobs."""

    name: str = Field(description="Host, process, and something random.")
    version: str
    kinds: list[str] = Field(description="Of jobs that it takes.")
    started: str = Field(description="ISO 8601, UTC.")
    seen: str = Field(description="Its last sign of life, ISO 8601, UTC.")


class Health(BaseModel):
    """Whether the service works. Without a valid key, where keys are needed, only `status` is told."""

    status: Literal["ok"]
    version: str | None = Field(default=None, examples=["0.1.0"])
    database: str | None = Field(default=None, description="sqlite or postgresql.", examples=["postgresql"])
    workers: list[Worker] | None = Field(default=None, description="Seen within the time of a lease.")


class Error(BaseModel):
    """One thing that is wrong, and where."""

    detail: str
    parameter: str | None = Field(default=None, description="Of the address.", examples=["limit"])
    pointer: str | None = Field(
        default=None, description="JSON Pointer into the body.", examples=["#/trials"]
    )


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(description="The same for all of a kind.", examples=["urn:leanfront:problem:not-found"])
    title: str = Field(examples=["There is no such thing"])
    status: int = Field(examples=[404])
    detail: str = Field(description="What was wrong this time, for people.")
    request_id: str = Field(description="The id under which the server has logged the request.")
    errors: list[Error] | None = Field(
        default=None, description="All that is wrong; absent when it is one thing."
    )
