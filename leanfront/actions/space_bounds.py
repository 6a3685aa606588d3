"""Bounds of a search space from an audit of limits: a stored one, or one in a file."""

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
    """The bounds that `leanfront.core.search.SpaceOptions` takes.

    Args:
        store: where searches are.
        source: name of a search whose model was audited by ``limits``; or, ending in ``.json``, a file: what
            ``leanfront audit NAME --kind limits --json`` printed, one AUDIT object of it, or its document.
        accuracy_drop: largest loss of accuracy of one layer or channel group alone.

    Raises:
        UsageError: the file cannot be read or is none of these, or the drop is out of range.
        NotFoundError: no such search, or it was not audited so.
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
