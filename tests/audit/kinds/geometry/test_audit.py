"""The whole audit on small models, its document against what it was made of."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from leanfront.core.audit import KINDS, AuditOptions, Auditor, Configured
from leanfront.core.audit.arrays import unpacked
from leanfront.core.audit.kinds.geometry.audit import SMALL
from leanfront.core.audit.kinds.geometry.contestants import contestants, lamp_shares
from leanfront.core.audit.kinds.geometry.fragility import fragility
from leanfront.core.audit.kinds.geometry.geometries import Geometries, explained
from leanfront.core.audit.kinds.geometry.tickets import kept_weights
from leanfront.core.audit.thumbnail import png_address
from leanfront.core.compressors import Configuration, Saliency
from leanfront.core.compressors.statistics.outputs import outputs
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.targets import Target
from leanfront.core.targets.pictures import Pictures, quantised
from leanfront.errors import StoppedError, UsageError
from leanfront.reports.audit_text import tables_of

RATIOS = (0.3, 0.6)
OPTIONS = AuditOptions(
    criteria=("l1", "random", "tickets"),
    ratios=RATIOS,
    samples=60,
    corruptions=("gaussian_noise", "contrast"),
    severities=(2, 4),
    gallery=5,
    ticket_samples=640,
)
KIND = KINDS["geometry"]


def auditor(target: Target, options: AuditOptions = OPTIONS, **more: Any) -> Auditor:
    structure = derive(target.model, target.example_input)
    quantised = Configuration(
        weight_bits=dict.fromkeys(structure.layers, 4), activation_bits=dict.fromkeys(structure.layers, 6)
    )
    versions = [Configured("candidate 7", quantised, 7)]
    return Auditor(target, structure, versions, options, samples=128, **more)


@pytest.fixture(scope="module")
def found(digits: Target) -> Any:
    return KIND.run(auditor(digits))


@pytest.fixture(scope="module")
def arrays(found: Any) -> dict[str, np.ndarray]:
    return {name: unpacked(entry) for name, entry in found.document["arrays"].items()}


def place(document: Mapping[str, Any], name: str) -> int:
    return [model["name"] for model in document["models"]].index(name)


def test_models_and_ways(found: Any) -> None:
    document = found.document
    assert [model["name"] for model in document["models"]] == [
        *(
            "dense",
            "l1-0.3",
            "l1-0.6",
            "random-0.3",
            "random-0.6",
            "candidate 7",
            "tickets-0.3",
            "tickets-0.6",
        )
    ]
    assert document["ways"] == [
        {"corruption": None, "severity": None},
        *({"corruption": c, "severity": s} for c in OPTIONS.corruptions for s in OPTIONS.severities),
    ]
    assert document["left_out"] == {}
    json.dumps(document, allow_nan=False)
    assert KIND.alone


def test_models_of_one_ratio_cost_the_same(found: Any) -> None:
    for ratio in RATIOS:
        weights = {m["nonzero_weights"] for m in found.document["models"] if m["ratio"] == ratio}
        assert len(weights) == 1
        assert weights.pop() == pytest.approx(52_464 * (1 - ratio), abs=6)


def test_measures_are_those_of_the_models(
    found: Any, arrays: Mapping[str, np.ndarray], digits: Target
) -> None:
    document, labels = found.document, digits.test.labels[arrays["positions"].tolist()]
    np.testing.assert_array_equal(arrays["labels"], labels)
    assert arrays["measures"].shape == (8, 5, 3, 60)
    same = auditor(digits)
    chosen = digits.test.subset(arrays["positions"].tolist())
    for version in (same.every[0], same.versions[0]):
        row = place(document, version.name)
        logits, _ = outputs(same.module(version), chosen, 60, torch.device("cpu"))
        np.testing.assert_array_equal(arrays["predicted"][row, 0], logits.argmax(1))
        assert document["accuracy"][row][0] == pytest.approx(
            float((logits.argmax(1) == labels).float().mean())
        )
    # Positive margins are right answers, in half precision too.
    right = arrays["predicted"] == arrays["labels"]
    np.testing.assert_array_equal(arrays["measures"][:, :, 2] > 0, right)
    np.testing.assert_allclose(np.array(document["accuracy"]), right.mean(2))


def test_tables_are_those_of_the_measures(found: Any, arrays: Mapping[str, np.ndarray]) -> None:
    document, measures = found.document, arrays["measures"].astype(float)
    near = {"rtol": 4e-3, "atol": 4e-3}
    np.testing.assert_allclose(arrays["means"][:, :, :3], measures.mean(3), **near)
    np.testing.assert_allclose(
        arrays["means"][:, :, 3], (measures[:, :, 2] / measures[:, :, 1]).mean(2), **near
    )
    np.testing.assert_array_equal(arrays["histograms"].sum(3), 60)
    for row, each in enumerate(document["classes"]):
        own = measures[..., arrays["labels"] == each["label"]].mean(3)
        np.testing.assert_allclose(arrays["class_means"][:, :, row], own, **near)
    assert arrays["confusion"].shape == (8, 10, 10)
    traces = np.trace(arrays["confusion"], axis1=1, axis2=2) / 60
    np.testing.assert_allclose(traces, [row[0] for row in document["accuracy"]])


def test_lists_name_robust_and_fragile_samples(found: Any, arrays: Mapping[str, np.ndarray]) -> None:
    document, margins = found.document, arrays["measures"][:, 0, 2].astype(float)
    assert list(document["lists"]) == ["all", "without random", "0.3", "0.6"]
    assert document["lists"]["all"]["models"] == [1, 2, 3, 4]
    assert document["lists"]["0.6"]["models"] == [2]
    for own in document["lists"].values():
        expected = fragility(margins[0], margins[own["models"]])
        assert own["n_robust"] == len(expected.robust)
        assert own["n_fragile"] == len(expected.fragile)
        assert {each["sample"] for each in own["fragile"]} <= set(expected.fragile)
    assert document["lists"]["all"]["n_fragile"] > 0


def test_every_sample_has_its_image(digits: Target, found: Any, arrays: Mapping[str, np.ndarray]) -> None:
    images = found.document["images"]
    assert list(images) == [str(place) for place in range(60)]
    assert digits.pixels is not None
    chosen = digits.splits[found.document["split"]].subset(arrays["positions"])
    for place, (pixels, _) in enumerate(Pictures.of(chosen, digits.pixels).batches(1)):
        expected = quantised(digits.pixels.of(pixels))[0, 0].numpy()
        np.testing.assert_array_equal(read(images[str(place)]), expected)


def test_images_beside_the_gallery_are_small() -> None:
    image = torch.zeros(3, 40, 80, dtype=torch.uint8)
    assert read(png_address(image, SMALL)).shape == (16, 32, 3)
    assert read(png_address(image)).shape == (40, 80, 3)


def read(address: str) -> np.ndarray:
    start = "data:image/png;base64,"
    assert address.startswith(start)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix(start)))))


def test_maps_link_all_representations(found: Any) -> None:
    similarity = found.document["similarity"]
    assert len(similarity["ways"]) == 5
    assert all(len(each["points"]) == 8 and len(each["links"]) == 7 for each in similarity["ways"])
    assert len(similarity["all"]["points"]) == 40
    assert len(similarity["all"]["links"]) == 39
    alike = found.document["alike"]
    assert alike["criteria"] == ["dense", "l1", "random", "candidate 7", "tickets"]
    nearest = {alike["pairs"][0]["first"], alike["pairs"][0]["second"]}
    # Four bits change less than any pruning, and choosing at random is no choice.
    assert nearest == {"dense", "candidate 7"}
    distance = np.array(alike["distance"], dtype=float)
    assert distance[0, 1] < distance[0, 2]


def test_directions_and_occlusion(found: Any, arrays: Mapping[str, np.ndarray]) -> None:
    directions = found.document["directions"]
    assert [row["ratio"] for row in directions["tickets"]["rows"]] == list(RATIOS)
    for row in directions["tickets"]["rows"]:
        assert row["larger_mean"] is (row["mean"] > row["trained_mean"])
        assert row["smaller_variance"] is (row["variance"] < row["trained_variance"])
    assert 0 <= directions["parameters"]["explained"] <= 1
    assert {*directions["redundancy"]["corruptions"], *directions["redundancy"]["constant"]} == set(
        OPTIONS.corruptions
    )
    occluded = found.document["occlusion"]
    assert occluded["models"] == [0, 2, 4, 5, 7]
    assert arrays["occlusion"].shape == (5, len(occluded["samples"]), 3, 4, 4)
    assert np.abs(arrays["occlusion"]).max() > 0


def test_a_candidate_has_its_own_figures(found: Any) -> None:
    own = found.versions["candidate 7"]
    assert own["candidate"] == 7
    assert own["model"] == 5
    assert own["accuracy"] == found.document["accuracy"][5][0]


def test_it_can_be_read(found: Any) -> None:
    tables = tables_of("geometry", {**found.document, "versions": []})
    text = "\n".join(table.text() for table in tables)
    assert "tickets-0.6" in text
    assert "gaussian_noise 2" in text


def test_without_pixels_and_training_split_the_rest_is_done(tiny: Target) -> None:
    options = AuditOptions(criteria=("l1", "tickets"), ratios=(0.5,), samples=40)
    structure = derive(tiny.model, tiny.example_input)
    document = KIND.run(Auditor(tiny, structure, [], options, samples=128)).document
    assert [model["name"] for model in document["models"]] == ["dense", "l1-0.5"]
    assert "no train split" in document["left_out"]["tickets"]
    assert document["ways"] == [{"corruption": None, "severity": None}]
    assert document["images"] == {}
    assert "reason" in document["directions"]["redundancy"]
    assert tables_of("geometry", {**document, "versions": []})


def test_it_stops_when_asked(tiny: Target) -> None:
    with pytest.raises(StoppedError):
        KIND.run(auditor(tiny, stop=lambda: True))


def test_lamp_moves_weights_between_layers_not_their_number(tiny: Target) -> None:
    structure = derive(tiny.model, tiny.example_input)
    saliency = Saliency(tiny, structure)
    shares = lamp_shares(saliency, structure, 0.7)
    counts = kept_weights(structure, 0.7)
    sizes = {layer: saliency.weight(layer).numel() for layer in structure.layers}
    kept = {layer: round(sizes[layer] * (1 - shares.get(layer, 0.0))) for layer in sizes}
    assert sum(kept.values()) == sum(counts.values())
    assert kept != counts
    # By the definition: the least score that stays is not below the greatest that goes.
    stays, goes = [], []
    for layer, number in kept.items():
        squares = saliency.weight(layer).double().square().flatten().sort(descending=True).values
        scores = squares / squares.cumsum(0)
        stays.append(float(scores[:number].min()))
        goes += (
            [float(score) for score in scores[number:].max(0, keepdim=True).values]
            if number < len(scores)
            else []
        )
    assert min(stays) >= max(goes) - 1e-6


def test_reconstruction_has_its_own_method(tiny: Target) -> None:
    options = AuditOptions(criteria=("lamp", "reconstruction"), ratios=(0.5,))
    models, _ = contestants(auditor(tiny, options))
    methods = {each.criterion: each.version.configuration.method for each in models[1:3]}
    assert methods == {"lamp": "rounding", "reconstruction": "sequential-1"}


@pytest.mark.parametrize(
    "change",
    [
        {"criteria": ()},
        {"criteria": ("size",)},
        {"criteria": ("l1", "l1")},
        {"ratios": ()},
        {"ratios": (1.0,)},
        {"ratios": (0.5, 0.5)},
        {"ratios": ("much",)},
        {"ticket_samples": 0},
    ],
)
def test_options_that_cannot_be_used_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AuditOptions(**change)
    assert AuditOptions.read(OPTIONS.to_json()) == OPTIONS


def test_the_classes_of_most_mistakes_are_shown() -> None:
    labels = np.array([0, 1, 2, 3])
    predicted = np.array([[[0, 3, 2, 1]]])
    made = Geometries(np.zeros((1, 1, 3, 4)), predicted, labels, 4)
    assert made.confused(2) == [1, 3]
    assert made.confused(4) == [0, 1, 2, 3]
    np.testing.assert_array_equal(made.confusion([1, 3]), [[[0, 1], [1, 0]]])


def test_variance_between_groups() -> None:
    values = np.array([1.0, 3.0, 5.0, 7.0])
    assert explained(values, [0.1, 0.1, 0.9, 0.9]) == pytest.approx(16 / 20)
    assert explained(values, [0.1, 0.9, 0.9, 0.1]) == 0
    assert np.isnan(explained(np.ones(3), [1.0, 2.0, 2.0]))
