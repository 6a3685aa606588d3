"""Documents of audits: the parts that all kinds share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]
"""The findings of an audit, JSON."""
DENSE = "dense"
"""Name of the dense model among versions, and key of its findings."""


def versions_of(document: Document, *, dense: bool = False) -> list[tuple[str, Document]]:
    """Return (name, findings) of the audited versions, with those of the dense model first if `dense`."""
    found = [(str(each["version"]), each) for each in document["versions"]]
    return [(DENSE, document["dense"]), *found] if dense else found
