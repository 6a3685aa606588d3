"""Bounds of a search space from the limits of each layer alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leanfront.core.audit.kinds.limits.curves import Curve, first_crossing
from leanfront.core.search.options import DROP
from leanfront.errors import UsageError


def bounds_of(document: Mapping[str, Any], *, accuracy_drop: float = DROP) -> dict[str, dict[str, float]]:
    """Derive the bounds of a search space from an audit of limits, leaving out choices that cost too much alone.

    Args:
        document: document of an audit ``limits``.
        accuracy_drop: largest loss of accuracy, a share of samples, of one layer or channel group compressed alone.

    Returns:
        Layer, or channel group -> ``bits``, the lowest width allowed (one above the widest that lost more),
        ``sparsity``, the highest share of zeroed weights, and ``keep``, the lowest share of units kept, both where
        the line between measured steps crosses the loss. Layers and groups that never lost more have no bound.
        `leanfront.core.search.SpaceOptions` takes the result as ``bounds``.

    Raises:
        UsageError: the document is not of an audit ``limits``, or the drop is outside [0, 1).
    """
    if not 0 <= accuracy_drop < 1:
        raise UsageError(f"accuracy_drop is a share of samples in [0, 1), not {accuracy_drop}")
    try:
        rows = [
            (
                str(row["subject"]),
                str(row["axis"]),
                tuple(map(float, row["values"])),
                Curve((0.0, *row["ratios"]), (row["dense"], *row["accuracies"])),
            )
            for row in document["layers"]["limits"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"no document of an audit 'limits' ({type(error).__name__}: {error}): its layers.limits are read"
        ) from None
    bounds: dict[str, dict[str, float]] = {}
    for subject, axis, values, curve in rows:
        lost = [
            value
            for value, accuracy in zip(values, curve.accuracies[1:], strict=True)
            if curve.accuracies[0] - accuracy > accuracy_drop + 1e-12
        ]
        if not lost:
            continue
        own = bounds.setdefault(subject, {})
        if axis == "bits":
            own["bits"] = int(max(lost)) + 1
        elif axis == "sparsity":
            own["sparsity"] = round(first_crossing(curve, accuracy_drop), 6)
        elif axis == "channels":
            own["keep"] = round(1 - first_crossing(curve, accuracy_drop), 6)
    return bounds
