from .attempt import Attempt, RecoveryProgress
from .candidate import ENDED, STATES, Candidate, SearchRecord, TrialRecord
from .context import SamplerContext
from .driver import Driver, Front, Progress
from .evaluation import Evaluation, Evaluator
from .export import export_study
from .lifecycle import go_on, queued, reference_of, resume, start
from .options import SearchOptions
from .prepared_target import Prepared, prepare
from .promotion import Prediction, Predictor
from .recovering import Recoverer, require_recoverable
from .samplers import SAMPLERS
from .space import Space, SpaceOptions, derive_space
from .store_protocol import Store
from .verification import Claim, Verification, verify

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
