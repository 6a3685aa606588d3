"""Bounds of a search space, read from a stored audit of limits or a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from leanfront.core.audit import bounds_of
from leanfront.core.search import SearchOptions
from leanfront.core.storage import FrontierStore
from leanfront.errors import UsageError

KIND = "limits"
FILE = ".json"


def bounded(store: FrontierStore, options: SearchOptions, *, files: bool = True) -> SearchOptions:
    """Return search options with the bounds that `limits` refers to.

    Args:
        store: store of the searches.
        options: options of the search to create.
        files: whether `limits` may name a file.

    Raises:
        UsageError: the file cannot be used.
        NotFoundError: the search does not exist or has no such audit.
    """
    if options.limits is None:
        return options
    if not files and options.limits.endswith(FILE):
        raise UsageError("limits names a file: over the network it must be the name of a search")
    return replace(options, bounds=read_bounds(store, options.limits, options.limits_drop))


def read_bounds(store: FrontierStore, source: str, accuracy_drop: float) -> dict[str, dict[str, float]]:
    """Read bounds for `leanfront.core.search.SpaceOptions`.

    Args:
        store: store of the searches.
        source: name of a search with an audit ``limits``; or a ``.json`` file with the output of
            ``leanfront audit NAME --kind limits --json``, one AUDIT object of it, or its document.
        accuracy_drop: largest loss of accuracy that one layer or channel group alone may cause.

    Raises:
        UsageError: the file cannot be read or is none of these, or `accuracy_drop` is out of range.
        NotFoundError: the search does not exist or has no such audit.
    """
    if not source.endswith(FILE):
        return bounds_of(store.audit(source, KIND).document, accuracy_drop=accuracy_drop)
    try:
        content = json.loads(Path(source).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read limits from '{source}': {error}") from None
    return bounds_of(_document(content, source), accuracy_drop=accuracy_drop)


def _document(content: Any, source: str) -> Mapping[str, Any]:
    if isinstance(content, Mapping) and isinstance(content.get("audits"), list):
        own = [each for each in content["audits"] if isinstance(each, Mapping) and each.get("kind") == KIND]
        if not own:
            raise UsageError(f"'{source}' contains no audit '{KIND}': make one with --kind {KIND}")
        content = own[0]
    if isinstance(content, Mapping) and "document" in content:
        content = content["document"]
    if not isinstance(content, Mapping):
        raise UsageError(f"'{source}' is not an audit '{KIND}': expected a JSON object")
    return content
