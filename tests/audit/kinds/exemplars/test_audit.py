"""The audit `exemplars` on the digits: its gallery."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from leanfront.core.audit import Auditor, Findings
from leanfront.core.targets import Target


def test_the_gallery_shows_the_samples(
    digits_findings: dict[str, Findings], digits_auditor: Auditor, digits: Target
) -> None:
    assert digits.test is not None
    inputs, labels = digits.test.tensors()
    originals = load_digits().images
    gallery = digits_findings["exemplars"].versions["magnitude-0.9"]["gallery"]
    assert len(gallery) == 5
    scores = [each["score"] for each in gallery]
    assert scores == sorted(scores, reverse=True)
    for each in gallery:
        head, _, content = each["image"].partition(",")
        assert head == "data:image/png;base64"
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        assert (image.format, image.size, image.mode) == ("PNG", (8, 8), "L")
        # The grey levels 0..16 of the sample in the data set, stretched to 0..255.
        levels = np.asarray(image, dtype=np.float64) * 16 / 255
        grey = inputs[each["index"], 0].numpy() * 6.017 + 4.884
        assert np.abs(levels - grey).max() < 16 / 255
        assert (np.abs(originals - levels).max(axis=(1, 2)) < 16 / 255).any()
        assert each["truth"] == int(labels[each["index"]])
        assert each["dense"] != each["compressed"]
        assert each["compressed_name"] == digits.classes[each["compressed"]]
        votes = digits_auditor.votes["magnitude-0.9"].predictions[:, each["index"]]
        assert each["compressed_share"] == pytest.approx((votes == each["compressed"]).mean())
