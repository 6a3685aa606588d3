from .builtin import BUILTINS
from .pixels import Pixels
from .reference import builtin_targets, check_reference, resolve
from .split import Split
from .target import Target

__all__ = ["BUILTINS", "Pixels", "Split", "Target", "builtin_targets", "check_reference", "resolve"]
