"""The audit ``exemplars``: the samples that compressed populations answer otherwise than the dense one."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image
from torch import Tensor

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.kind import Findings, Kind, entry, register
from leanfront.core.audit.kinds.exemplars.exemplars import exemplars
from leanfront.core.audit.population import TOP
from leanfront.core.audit.population_json import population_json
from leanfront.core.targets.pictures import Pictures

LARGEST = 96
"""Pixels of the longer side of an image in a gallery."""


def audit_exemplars(auditor: Auditor) -> Findings:
    """PIE rate, its noise floor, how hard exemplars are, and a gallery of them."""
    labels = auditor.data.labels.numpy()
    votes, classes = auditor.votes, auditor.target.classes
    dense = votes["dense"]
    found = {}
    for version in auditor.versions:
        own = votes[version.name]
        # With no more classes than that every answer is among the first five.
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
        "population": population_json(auditor),
    }
    return Findings(about, found)


def _images(auditor: Auditor, places: list[int]) -> list[str | None]:
    """PNG images of samples as data addresses; None where inputs are no images."""
    pixels = auditor.target.pixels
    if pixels is None or not places:
        return [None] * len(places)
    pictures = Pictures.of(auditor.data.subset(places), pixels)
    return [png_address(image) for image in pictures.images]


def png_address(image: Tensor, largest: int = LARGEST) -> str:
    """An image uint8 (c, h, w) as ``data:image/png;base64,...``; its longer side is at most so many pixels."""
    array = image[:3].permute(1, 2, 0).numpy() if image.shape[0] >= 3 else image[0].numpy()
    shown = Image.fromarray(array)
    shown.thumbnail((largest, largest))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


register(
    Kind(
        "exemplars",
        "Compression-identified exemplars (PIE)",
        audit_exemplars,
        ("pie_rate",),
        "Hooker et al., What do compressed deep neural networks forget?, arXiv 1911.05248",
        heavy=("gallery",),
    )
)
