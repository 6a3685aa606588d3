"""Every error that leanfront raises on purpose.

    LeanfrontError
    ├── UsageError               a value the caller passed: name, size, bits, option
    ├── TargetError              the model or its data cannot be used
    ├── ConfigurationError       a configuration does not fit the model, or is not one
    ├── CompressionError         a configuration could not be applied, or what came of it not be trained
    ├── ArtifactError            a file is no artifact, is damaged, or is of another architecture
    ├── EvaluationError          a compressed model could not be measured
    ├── InfeasibleError          no candidate holds the budget; the nearest is named
    └── StorageError             the database
        ├── NameTakenError       a search of that name exists
        ├── NotFoundError        no such search, candidate or job
        ├── BusyError            another process drives it
        ├── LeaseLostError       another process drives it by now: nothing more may be written for it
        └── SchemaError          the database is of another schema version
    StoppedError                 no failure: work was asked to stop

Each message says what was wrong, with which value, and what to do. The tree lives in the topmost room
because every room raises from it; users import it from `leanfront`.
"""

from __future__ import annotations


class LeanfrontError(Exception):
    """Base of all errors that leanfront raises on purpose."""


class UsageError(LeanfrontError, ValueError):
    """A value the caller passed cannot be used."""


class TargetError(LeanfrontError):
    """The model or its data cannot be used."""


class ConfigurationError(LeanfrontError, ValueError):
    """A configuration does not fit the model, or is not a configuration."""


class CompressionError(LeanfrontError):
    """A configuration could not be applied to the model, or what came of it could not be trained."""


class ArtifactError(LeanfrontError):
    """A file is no artifact of ours, is damaged, or was made of another architecture."""


class EvaluationError(LeanfrontError):
    """A compressed model could not be measured."""


class InfeasibleError(LeanfrontError):
    """No candidate holds the budget. `selection` is the whole answer: nearest candidate, binding limit."""

    def __init__(self, message: str, selection: object = None) -> None:
        super().__init__(message)
        self.selection = selection


class StorageError(LeanfrontError):
    """The database could not be read or written."""


class NameTakenError(StorageError):
    """A search of that name exists already."""


class NotFoundError(StorageError, LookupError):
    """No such search or candidate."""


class BusyError(StorageError):
    """Another process drives the search, or it waits for one."""


class LeaseLostError(StorageError):
    """This process drives the job no more: it wrote nothing, and must not go on."""


class SchemaError(StorageError):
    """The database has another schema version than this release."""


class StoppedError(Exception):
    """Long work was asked to stop, by a signal or by who runs it: no failure, and what was computed is kept."""
