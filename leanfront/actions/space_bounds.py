"""Bounds of a search space, from a stored audit of limits or one in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leanfront.core.audit import bounds_of
from leanfront.core.storage import FrontierStore
from leanfront.errors import UsageError

KIND = "limits"


def read_bounds(store: FrontierStore, source: str, accuracy_drop: float) -> dict[str, dict[str, float]]:
    """Read bounds for `leanfront.core.search.SpaceOptions`.

    Args:
        store: store of the searches.
        source: name of a search with an audit ``limits``; or a ``.json`` file with the output of
            ``leanfront audit NAME --kind limits --json``, one AUDIT object of it, or its document.
        accuracy_drop: largest loss of accuracy that one layer or channel group alone may cause.

    Raises:
        UsageError: the file cannot be read or is none of these, or `accuracy_drop` is out of range.
        NotFoundError: there is no such search or it has no such audit.
    """
    if not source.endswith(".json"):
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
            raise UsageError(f"'{source}' holds no audit '{KIND}': make it with --kind {KIND}")
        content = own[0]
    if isinstance(content, Mapping) and "document" in content:
        content = content["document"]
    if not isinstance(content, Mapping):
        raise UsageError(f"'{source}' is no audit '{KIND}': expected a JSON object")
    return content
