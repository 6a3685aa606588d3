"""Every error that leanfront raises on purpose; the tree is drawn in `targets.errors`."""

from targets.errors import (
    ArtifactError,
    BusyError,
    CompressionError,
    ConfigurationError,
    EvaluationError,
    InfeasibleError,
    LeanfrontError,
    LeaseLostError,
    NameTakenError,
    NotFoundError,
    SchemaError,
    StorageError,
    TargetError,
    UsageError,
)

__all__ = [
    "ArtifactError",
    "BusyError",
    "CompressionError",
    "ConfigurationError",
    "EvaluationError",
    "InfeasibleError",
    "LeanfrontError",
    "LeaseLostError",
    "NameTakenError",
    "NotFoundError",
    "SchemaError",
    "StorageError",
    "TargetError",
    "UsageError",
]
