"""Documents of audits: what those of all kinds have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
"""What an audit found, JSON."""
DENSE = "dense"
"""The dense model's name among versions, and the key of what was found of it."""


def versions_of(document: Document, *, dense: bool = False) -> list[tuple[str, Document]]:
    """(name, findings) of the versions that were audited, the dense model first where its findings are asked for."""
    found = [(str(each["version"]), each) for each in document["versions"]]
    return [(DENSE, document["dense"]), *found] if dense else found
