"""Whether a search can find anything: what the cheapest configuration of its space would save."""

from __future__ import annotations

from leanfront.core.search.prepared_target import Prepared
from leanfront.errors import UsageError

LEAST = 0.05
"""Smallest share of the bytes or of the multiply-adds that the cheapest configuration must save."""
NAMED = 3
"""Largest number of parts named in a message."""


def require_worthwhile(prepared: Prepared) -> None:
    """Check that a search could save a noticeable share of the model.

    Raises:
        UsageError: it could not; the message names the largest parts that are left alone, with the reasons.
    """
    dense, cheapest = prepared.dense_costs, prepared.cheapest
    saved = {
        what: 1 - cheapest[name] / dense[name]
        for name, what in (("memory_bytes", "bytes"), ("macs", "multiply-adds"))
        if dense.get(name)
    }
    if max(saved.values(), default=0.0) >= LEAST:
        return
    most = " and ".join(f"{max(0.0, share):.1%} of its {what}" for what, share in saved.items())
    raise UsageError(
        f"next to nothing of this model can be compressed: at most {most}{_left_alone(prepared)}. "
        "leanfront inspect shows the rest; to search nevertheless, give --anyway (in Python anyway=True)"
    )


def _left_alone(prepared: Prepared) -> str:
    """Return the largest modules that are left alone, with their share of the parameters and the reason."""
    model = prepared.target.model
    modules = dict(model.named_modules())
    total = max(1, sum(parameter.numel() for parameter in model.parameters()))
    shares = {
        row["name"]: (sum(p.numel() for p in modules[row["name"]].parameters(recurse=False)) / total, row)
        for row in prepared.coverage.exclusions
        if row["name"] in modules
    }
    largest = sorted(shares.values(), key=lambda each: -each[0])[:NAMED]
    named = [f"'{row['name']}' ({share:.1%}: {row['reason']})" for share, row in largest if share >= LEAST]
    return f"; left alone: {', '.join(named)}" if named else ""
