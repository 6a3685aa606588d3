"""leanfront: which compressed version of my model should I ship?"""

from leanfront import threads as _threads  # isort: split

from compressors import CRITERIA, PRESETS, Configuration, Structure, compress, derive, preset
from leanfront import errors
from leanfront.api import open_search, resume, search
from leanfront.candidates import Candidate, Candidates
from leanfront.client import Client
from leanfront.load import load
from leanfront.report import report
from leanfront.result import SearchResult
from leanfront.version import __version__
from objectives import Budget, Measurement, Selection
from search import SearchRecord
from targets import Pixels, Split, Target, resolve
from targets.errors import LeanfrontError

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
