from . import errors
from .core.compressors.compressor import compress
from .core.compressors.configuration import Configuration
from .core.compressors.presets import PRESETS, preset
from .core.compressors.pruning.criteria import CRITERIA
from .core.compressors.structure.derivation import derive
from .core.compressors.structure.structure import Structure
from .core.objectives.budget import Budget
from .core.objectives.measurement import Measurement
from .core.objectives.selection import Selection
from .core.search.candidate import SearchRecord
from .core.targets.pixels import Pixels
from .core.targets.reference import resolve
from .core.targets.split import Split
from .core.targets.target import Target
from .errors import LeanfrontError
from .local.candidates import Candidate
from .local.load import load
from .local.search_result import SearchResult
from .local.searches import open_search, resume, search
from .remote.client import Client
from .reports.audit_report import report
from .reports.rows import Candidates
from .version import __version__

__all__ = [
    "CRITERIA",
    "PRESETS",
    "Budget",
    "Candidate",
    "Candidates",
    "Client",
    "Configuration",
    "LeanfrontError",
    "Measurement",
    "Pixels",
    "SearchRecord",
    "SearchResult",
    "Selection",
    "Split",
    "Structure",
    "Target",
    "__version__",
    "compress",
    "derive",
    "errors",
    "load",
    "open_search",
    "preset",
    "report",
    "resolve",
    "resume",
    "search",
]
