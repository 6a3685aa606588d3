"""What several kinds of audits find on the same models is true, and what is written of it can be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Configured, Findings
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.targets import Target
from leanfront.errors import UsageError

MODELS = 4


def test_documents_are_json(digits_findings: dict[str, Findings], digits_auditor: Auditor) -> None:
    names = [version.name for version in digits_auditor.versions]
    assert names[0] == "candidate 5"
    assert len(names) == 9
    for kind, each in digits_findings.items():
        document = {**each.document, "versions": list(each.versions.values())}
        assert json.loads(json.dumps(document, allow_nan=False)) == document, kind
        assert list(each.versions) == names
        assert [entry["version"] for entry in each.versions.values()] == names
        assert [entry["candidate"] for entry in each.versions.values()] == [5, *[None] * 8]
        assert (each.document["split"], each.document["samples"]) == ("test", 397)
    for kind in ("classes", "exemplars"):
        population = digits_findings[kind].document["population"]
        assert (population["kind"], population["models"], population["seed"]) == ("recalibrated", MODELS, 0)
        # What its noise does not hold is said.
        assert "4 re-calibrations of one model" in population["text"]


def test_harsher_pruning_forgets_more(digits_findings: dict[str, Findings]) -> None:
    """The published directions: arXiv 1911.05248, figures 2 and 5, table 2."""
    exemplars, classes = (digits_findings[kind].versions for kind in ("exemplars", "classes"))
    for mild in ("magnitude-0.1", "fixed-int8", "float16"):
        assert exemplars["magnitude-0.9"]["rate"] > 10 * exemplars[mild]["rate"]
        harsh, other = (classes[name]["by_p"]["n_significant"] for name in ("magnitude-0.9", mild))
        assert harsh > other
        assert classes["magnitude-0.9"]["top1"] < classes[mild]["top1"] - 0.1
    floor = exemplars["magnitude-0.9"]["floor"]
    assert floor["members"] == MODELS // 2
    assert floor["matched_rate"] > floor["rate_high"] >= floor["rate"] >= 0


def test_votes_are_the_documents(digits_findings: dict[str, Findings], digits_auditor: Auditor) -> None:
    """Counted anew from the votes alone."""
    labels = digits_auditor.data.labels.numpy()
    dense, own = (digits_auditor.votes[name].predictions for name in ("dense", "magnitude-0.9"))

    def mode(votes: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = np.stack([(votes == label).sum(axis=0) for label in range(10)])
        # Of equally many the largest label.
        return 9 - counts[::-1].argmax(axis=0)

    document = digits_findings["exemplars"].versions["magnitude-0.9"]
    changed = mode(dense) != mode(own)
    assert document["count"] == changed.sum()
    assert document["rate"] == pytest.approx(100 * changed.mean())
    assert document["subsets"]["exemplars"]["dense_top1"] == pytest.approx(
        (dense == labels)[:, changed].mean()
    )
    document = digits_findings["classes"].versions["magnitude-0.9"]
    assert document["dense_top1"] == pytest.approx((dense == labels).mean())
    assert document["top1"] == pytest.approx((own == labels).mean())
    for label, group in enumerate(document["groups"]):
        assert group["name"] == str(label)
        assert group["support"] == (labels == label).sum()
        assert group["recall"] == pytest.approx((own == labels)[:, labels == label].mean())
    assert digits_findings["classes"].document["frequencies"] == "training"
    assert [part["name"] for part in document["long_tail"]["parts"]] == ["tail", "middle", "head"]
    # All training samples are in some part, in the frequencies of what the network was trained on.
    assert sum(part["share"] for part in document["long_tail"]["parts"]) == pytest.approx(1)


def test_a_population_of_one_has_no_variance(tiny: Target, structure: Structure, answers: Answers) -> None:
    options = AuditOptions(models=1, levels=("quantisation",))
    auditor = Auditor(tiny, structure, [], options, samples=64, answers=answers)
    with pytest.raises(UsageError, match="class impact compares populations: give at least 2 models"):
        KINDS["classes"].run(auditor)
    # Exemplars there are, but no noise floor.
    document = KINDS["exemplars"].run(auditor).versions["fixed-int8"]
    assert document["floor"] is None
    assert document["floor_reason"]


def test_attributes_give_a_table_a_value(tiny: Target, structure: Structure, answers: Answers) -> None:
    assert tiny.test is not None
    labels = tiny.test.labels
    # Samples on which one attribute is by chance, one is the label's parity.
    side = ["left" if place % 3 else "right" for place in range(120)]
    target = Target(
        model=tiny.model,
        example_input=tiny.example_input,
        calibration=tiny.calibration,
        validation=tiny.validation,
        test=tiny.test.tensors(),
        classes=tiny.classes,
        attributes={"test": {"side": side, "odd": (labels % 2).tolist()}},
    )
    thin = Configured("thin", Configuration(channels={"conv1": 2, "conv3": 3}))
    auditor = Auditor(
        target, structure, [thin], AuditOptions(models=3, gallery=2), samples=64, answers=answers
    )
    document = KINDS["classes"].run(auditor)
    assert document.document["frequencies"] == "test"
    tables = document.versions["thin"]["attributes"]
    assert set(tables) == {"side", "odd", "side x class", "odd x class"}
    right = auditor.votes["thin"].predictions == labels.numpy()
    dense = auditor.votes["dense"].predictions == labels.numpy()
    for name, values in (("side", np.array(side)), ("odd", (labels % 2).numpy().astype(str))):
        groups = {group["name"]: group for group in tables[name]["groups"]}
        assert set(groups) == set(values)
        for value, group in groups.items():
            assert group["support"] == (values == value).sum()
            assert group["recall"] == pytest.approx(right[:, values == value].mean())
            assert group["dense_recall"] == pytest.approx(dense[:, values == value].mean())
    json.dumps(document.versions["thin"], allow_nan=False)
    # Inputs that are no images are listed without any.
    gallery = KINDS["exemplars"].run(auditor).versions["thin"]["gallery"]
    assert [each["image"] for each in gallery] == [None, None]
    assert gallery[0]["truth_name"] in target.classes
    with pytest.raises(UsageError, match=r"'robustness' changes images.*Target\(pixels=leanfront.Pixels"):
        KINDS["robustness"].run(auditor)
