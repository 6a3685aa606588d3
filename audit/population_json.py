"""What the documents of audits of populations say about the population."""

from __future__ import annotations

from typing import Any

from leanfront.core.audit.auditor import Auditor

TEXT = {
    "trained": "independently trained models",
    "recalibrated": "re-calibrations of one model: bootstrapped calibration samples, its batch norms among what they "
    "set. They differ by that alone, so that differences of models trained apart are not in their noise",
}


def population_json(auditor: Auditor) -> dict[str, Any]:
    """Kind, size, seed, and in words what its models have in common."""
    options = auditor.options
    return {
        "kind": options.population,
        "models": options.models,
        "seed": options.seed,
        "text": f"{options.models} {TEXT[options.population]}",
    }
