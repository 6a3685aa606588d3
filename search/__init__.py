"""The search: space, samplers, evaluation, and the driver with its Optuna study."""

from leanfront.core.search.attempt import Attempt, RecoveryProgress
from leanfront.core.search.candidate import ENDED, STATES, Candidate, SearchRecord, TrialRecord
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.driver import Driver, Front, Progress
from leanfront.core.search.evaluation import Evaluation, Evaluator
from leanfront.core.search.export import export_study
from leanfront.core.search.lifecycle import go_on, queued, reference_of, resume, start
from leanfront.core.search.options import SearchOptions
from leanfront.core.search.prepared_target import Prepared, prepare
from leanfront.core.search.promotion import Prediction, Predictor
from leanfront.core.search.recovering import Recoverer, require_recoverable
from leanfront.core.search.samplers import SAMPLERS
from leanfront.core.search.space import Space, SpaceOptions, derive_space
from leanfront.core.search.store_protocol import Store
from leanfront.core.search.verification import Claim, Verification, verify

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
