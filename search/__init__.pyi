from .attempt import Attempt, RecoveryProgress, require_recoverable
from .candidate import ENDED, STATES, Candidate, SearchRecord, TrialRecord
from .claim_checks import verify
from .context import SamplerContext
from .driver import Driver, Front
from .evaluation import Evaluator
from .export import export_study
from .lifecycle import resume, start
from .options import Place, SearchOptions
from .prepared_target import Prepared, prepare
from .progress import Progress
from .promotion import Predictor
from .recovering import Recoverer
from .request import queued, reference_of
from .run import Run
from .samplers import SAMPLERS, Sampler
from .space import derive_space
from .space_options import SpaceOptions
from .store_protocol import Store
from .verification import Claim, Verification

__all__ = [
    "ENDED",
    "SAMPLERS",
    "STATES",
    "Attempt",
    "Candidate",
    "Claim",
    "Driver",
    "Evaluator",
    "Front",
    "Place",
    "Predictor",
    "Prepared",
    "Progress",
    "Recoverer",
    "RecoveryProgress",
    "Run",
    "Sampler",
    "SamplerContext",
    "SearchOptions",
    "SearchRecord",
    "SpaceOptions",
    "Store",
    "TrialRecord",
    "Verification",
    "derive_space",
    "export_study",
    "prepare",
    "queued",
    "reference_of",
    "require_recoverable",
    "resume",
    "start",
    "verify",
]
