"""Translation of a server's refusals into the errors of the Python interface."""

from __future__ import annotations

import httpx2

from leanfront.errors import (
    ArtifactError,
    BusyError,
    LeanfrontError,
    NameTakenError,
    NotFoundError,
    StorageError,
    UsageError,
)

TYPE = "urn:leanfront:problem:"
ERRORS: dict[str, type[LeanfrontError]] = {
    "not-found": NotFoundError,
    "name-taken": NameTakenError,
    "busy": BusyError,
    "artifact": ArtifactError,
    "invalid": UsageError,
    "malformed": UsageError,
    "too-large": UsageError,
    "storage": StorageError,
    "overloaded": StorageError,
}
"""Type of a problem -> error class; other problems become `LeanfrontError`."""


def error_of(answer: httpx2.Response) -> LeanfrontError:
    """Build the error for a refusal."""
    try:
        problem = answer.json()
        kind, detail = str(problem["type"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return LeanfrontError(
            f"{answer.url} answered {answer.status_code} without problem details of this API"
        )
    error = ERRORS.get(kind.removeprefix(TYPE), LeanfrontError)
    return error(
        detail if issubclass(error, UsageError | NotFoundError) else f"{problem.get('title')}: {detail}"
    )
