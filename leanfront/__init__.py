"""leanfront: which compressed version of my model should I ship?"""

from leanfront import threads as _threads  # isort: split

from leanfront import errors
from leanfront.core.compressors import CRITERIA, PRESETS, Configuration, Structure, preset
from leanfront.core.compressors.compressor import compress
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.objectives import Budget, Measurement, Selection
from leanfront.core.search import SearchRecord
from leanfront.core.targets import Pixels, Split, Target, resolve
from leanfront.errors import LeanfrontError
from leanfront.local.candidates import Candidate, Candidates
from leanfront.local.load import load
from leanfront.local.search_result import SearchResult
from leanfront.local.searches import open_search, resume, search
from leanfront.remote.client import Client
from leanfront.reports.audit_report import report
from leanfront.version import __version__

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

del _threads
