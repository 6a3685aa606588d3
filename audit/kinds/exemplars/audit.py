"""The audit ``exemplars``: samples that compressed populations answer differently from the dense one."""

from __future__ import annotations

from typing import Any

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.kinds.exemplars.exemplars import exemplars
from leanfront.core.audit.population import TOP
from leanfront.core.audit.thumbnail import png_address
from leanfront.core.targets.pictures import Pictures


def audit_exemplars(auditor: Auditor) -> Findings:
    """Compute the PIE rate, its noise floor, the accuracy on exemplars, and a gallery of them."""
    labels = auditor.data.labels.numpy()
    votes, classes = auditor.votes, auditor.target.classes
    dense = votes["dense"]
    found = {}
    for version in auditor.versions:
        own = votes[version.name]
        # With five classes or fewer, every label is among the first five.
        both: dict[str, Any] = {"dense_top5": dense.top5, "top5": own.top5} if len(classes) > TOP else {}
        result = exemplars(dense.predictions, own.predictions, labels, seed=auditor.options.seed, **both)
        document = result.to_json(auditor.options.gallery)
        images = _images(auditor, [each["index"] for each in document["gallery"]])
        for each, image in zip(document["gallery"], images, strict=True):
            each["image"] = image
            for key in ("truth", "dense", "compressed"):
                each[f"{key}_name"] = classes[each[key]]
        found[version.name] = entry(version, document)
    about = {
        "split": auditor.split,
        "samples": len(labels),
        "population": auditor.population.to_json(),
    }
    return Findings(about, found)


def _images(auditor: Auditor, places: list[int]) -> list[str | None]:
    """Return PNG images of samples as data addresses; None if the inputs are no images."""
    pixels = auditor.target.pixels
    if pixels is None or not places:
        return [None] * len(places)
    pictures = Pictures.of(auditor.data.subset(places), pixels)
    return [png_address(image) for image in pictures.images]
