from .apply import corrupt
from .corruption import SEVERITIES, Corruption
from .registry import CORRUPTIONS, MAIN, register

__all__ = ["CORRUPTIONS", "MAIN", "SEVERITIES", "Corruption", "corrupt", "register"]
