"""All errors that leanfront raises on purpose.

    LeanfrontError
    ├── UsageError               a value the caller passed: name, size, bits, option
    ├── TargetError              the model or its data cannot be used
    ├── ConfigurationError       a configuration does not fit the model, or is not one
    ├── CompressionError         a configuration could not be applied, or the compressed model not be trained
    ├── ArtifactError            a file is no artifact, is damaged, or belongs to another architecture
    ├── EvaluationError          a compressed model could not be measured
    ├── InfeasibleError          no candidate is within the budget; the nearest one is named
    └── StorageError             the database
        ├── NameTakenError       a search of that name exists
        ├── NotFoundError        no such search, candidate or job
        ├── BusyError            another process drives it
        ├── LeaseLostError           another process now drives it: this one may write nothing more
        └── SchemaError          the database is of another schema version
    StoppedError                 work was asked to stop; not a failure

Each message says what is wrong, with which value, and what to do. The classes are defined at the top because every
room raises them; users import them from `leanfront`.
"""

from __future__ import annotations


class LeanfrontError(Exception):
    """Base class of all errors that leanfront raises on purpose."""


class UsageError(LeanfrontError, ValueError):
    """A value the caller passed cannot be used."""


class TargetError(LeanfrontError):
    """The model or its data cannot be used."""


class ConfigurationError(LeanfrontError, ValueError):
    """A configuration does not fit the model, or is not a configuration."""


class CompressionError(LeanfrontError):
    """A configuration could not be applied to the model, or the compressed model could not be trained."""


class ArtifactError(LeanfrontError):
    """A file is no artifact of leanfront, is damaged, or belongs to another architecture."""


class EvaluationError(LeanfrontError):
    """A compressed model could not be measured."""


class InfeasibleError(LeanfrontError):
    """No candidate is within the budget. `selection` is the whole answer: nearest candidate, binding limit."""

    def __init__(self, message: str, selection: object = None) -> None:
        super().__init__(message)
        self.selection = selection


class StorageError(LeanfrontError):
    """The database could not be read or written."""


class NameTakenError(StorageError):
    """A search of that name exists already."""


class NotFoundError(StorageError, LookupError):
    """The search, candidate, job or file does not exist."""


class BusyError(StorageError):
    """Another process drives the search, or the search is queued for one."""


class LeaseLostError(StorageError):
    """This process no longer holds the job: it wrote nothing and must stop."""


class SchemaError(StorageError):
    """The schema version of the database differs from this release's."""


class StoppedError(Exception):
    """Work was asked to stop, by a signal or its owner. Not a failure: results so far are kept."""
