"""Every error that leanfront raises on purpose; the tree is drawn in `targets.errors`."""

from targets.errors import (
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
    "CompressionError",
    "ConfigurationError",
    "EvaluationError",
    "InfeasibleError",
    "LeanfrontError",
    "NameTakenError",
    "NotFoundError",
    "SchemaError",
    "StorageError",
    "TargetError",
    "UsageError",
]
