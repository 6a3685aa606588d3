"""What is compressed: targets, their data splits, and what a reference on the command line means."""

from leanfront.core.targets.pixels import Pixels
from leanfront.core.targets.reference import BUILTINS, builtin_targets, check_reference, resolve
from leanfront.core.targets.split import Split
from leanfront.core.targets.target import Target
from leanfront.errors import (
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
