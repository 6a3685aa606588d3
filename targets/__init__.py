"""What is compressed: targets, their data splits, and what a reference on the command line means."""

from targets.errors import (
    ArtifactError,
    CompressionError,
    ConfigurationError,
    EvaluationError,
    InfeasibleError,
    LeanfrontError,
    NameTakenError,
    NotFoundError,
    SchemaError,
    StorageError,
    TargetError,
    UsageError,
)
from targets.pixels import Pixels
from targets.reference import BUILTINS, builtin_targets, check_reference, resolve
from targets.split import Split
from targets.target import Target

__all__ = [
    "BUILTINS",
    "ArtifactError",
    "CompressionError",
    "ConfigurationError",
    "EvaluationError",
    "InfeasibleError",
    "LeanfrontError",
    "NameTakenError",
    "NotFoundError",
    "Pixels",
    "SchemaError",
    "Split",
    "StorageError",
    "Target",
    "TargetError",
    "UsageError",
    "builtin_targets",
    "check_reference",
    "resolve",
]
