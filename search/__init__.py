"""The search: space, samplers, evaluation, and the driver with its Optuna study."""

from search.candidate import STATES, Candidate, SearchRecord, TrialRecord
from search.context import SamplerContext
from search.driver import Driver, Front, Progress
from search.evaluation import Evaluation, Evaluator
from search.run import Prepared, SearchOptions, prepare, resume, start
from search.samplers import SAMPLERS
from search.space import Space, SpaceOptions, derive_space
from search.store import Store

__all__ = [
    "SAMPLERS",
    "STATES",
    "Candidate",
    "Driver",
    "Evaluation",
    "Evaluator",
    "Front",
    "Prepared",
    "Progress",
    "SamplerContext",
    "SearchOptions",
    "SearchRecord",
    "Space",
    "SpaceOptions",
    "Store",
    "TrialRecord",
    "derive_space",
    "prepare",
    "resume",
    "start",
]
