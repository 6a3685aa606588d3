"""Documents of audits as they are stored and read."""

from __future__ import annotations

import json
from typing import Any

from leanfront.core.audit import KINDS, Auditor


def audited(auditor: Auditor, kind: str) -> dict[str, Any]:
    """What a kind finds, there and back through JSON."""
    found = KINDS[kind].run(auditor)
    whole = {**found.document, "versions": list(found.versions.values())}
    assert set(found.document).isdisjoint(key for part in found.versions.values() for key in part)
    read: dict[str, Any] = json.loads(json.dumps(whole, allow_nan=False))
    return read
