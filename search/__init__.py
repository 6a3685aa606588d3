"""The search: space, samplers, evaluation, and the driver with its Optuna study."""

from search.attempt import Attempt, RecoveryProgress
from search.candidate import ENDED, STATES, Candidate, SearchRecord, TrialRecord
from search.context import SamplerContext
from search.driver import Driver, Front, Progress
from search.evaluation import Evaluation, Evaluator
from search.export import export_study
from search.options import SearchOptions
from search.prepare import Prepared, prepare
from search.promotion import Prediction, Predictor
from search.recovering import Recoverer, require_recoverable
from search.run import go_on, queued, reference_of, resume, start
from search.samplers import SAMPLERS
from search.space import Space, SpaceOptions, derive_space
from search.store import Store
from search.verification import Claim, Verification, verify

__all__ = [
    "ENDED",
    "SAMPLERS",
    "STATES",
    "Attempt",
    "Candidate",
    "Claim",
    "Driver",
    "Evaluation",
    "Evaluator",
    "Front",
    "Prediction",
    "Predictor",
    "Prepared",
    "Progress",
    "Recoverer",
    "RecoveryProgress",
    "SamplerContext",
    "SearchOptions",
    "SearchRecord",
    "Space",
    "SpaceOptions",
    "Store",
    "TrialRecord",
    "Verification",
    "derive_space",
    "export_study",
    "go_on",
    "prepare",
    "queued",
    "reference_of",
    "require_recoverable",
    "resume",
    "start",
    "verify",
]
