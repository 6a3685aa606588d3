"""The audit `robustness` on the digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Configured, Findings, Version
from leanfront.core.audit.kinds.robustness.audit import _suite
from leanfront.core.audit.suites import c_like
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.targets import Target
from leanfront.core.targets.sampling import balanced
from leanfront.errors import TargetError

CORRUPTIONS = ("gaussian_noise", "brightness", "contrast")
WAYS = {"corruptions": CORRUPTIONS, "severities": (1, 5), "samples": 40}


def picture(inputs: torch.Tensor) -> NDArray[np.uint8]:
    """An input of `digits` as an image file has it."""
    grey = inputs[0].numpy() * 6.017 + 4.884
    levels: NDArray[np.uint8] = np.round(grey / 16 * 255).clip(0, 255).astype(np.uint8)
    return levels


@pytest.fixture(scope="module")
def folders(digits: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The test split as images by class, and some of it corrupted as CIFAR-10-C is written."""
    assert digits.test is not None
    inputs, labels = digits.test.tensors()
    images = np.stack([picture(each) for each in inputs])
    tree = tmp_path_factory.mktemp("images")
    for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = tree / digits.classes[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{place}.png")
    arrays = tmp_path_factory.mktemp("arrays")
    some = np.repeat(images[:60, :, :, None], 3, axis=3)
    dark = np.concatenate([(some * (1 - 0.19 * severity)).astype(np.uint8) for severity in range(1, 6)])
    np.save(arrays / "darkness.npy", dark)
    np.save(arrays / "nothing.npy", np.concatenate([some] * 5))
    np.save(arrays / "labels.npy", np.tile(labels[:60].numpy(), 5))
    return tree, arrays


@pytest.fixture(scope="module")
def robust(
    digits: Target, digits_structure: Structure, digits_answers: Answers, folders: tuple[Path, Path]
) -> tuple[Auditor, Findings]:
    tree, arrays = folders
    harsh = Configuration(sparsity=dict.fromkeys(digits_structure.layers, 0.8), criterion="l1")
    versions: list[Version] = [Configured("candidate 5", harsh, 5)]
    options = AuditOptions(levels=("quantisation",), corrupted=str(arrays), shift=str(tree), **WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, versions, options, samples=256, answers=digits_answers)
    return auditor, KINDS["robustness"].run(auditor)


def test_the_dense_model_is_the_unit(robust: tuple[Auditor, Findings]) -> None:
    _, found = robust
    json.dumps({**found.document, "versions": found.versions}, allow_nan=False)
    for suite in ("c_like", "published"):
        dense = found.document["dense"][suite]
        assert dense["mce"] == 1
        assert {each["ce"] for each in dense["corruptions"]} <= {1, None}
        assert {each["relative_change"] for each in dense["corruptions"]} == {0}
    assert found.document["c_like"]["corruptions"] == list(CORRUPTIONS)
    assert (found.document["samples"], found.document["c_like"]["samples"]) == (40, 40)
    assert "C-like" in found.document["c_like"]["text"]


def test_corruption_errors_are_those_of_the_accuracies(robust: tuple[Auditor, Findings]) -> None:
    _, found = robust
    for name, entry in found.versions.items():
        ratios = []
        for each in entry["c_like"]["corruptions"]:
            errors, dense = (sum(1 - a for a in each[key]) for key in ("accuracy", "dense_accuracy"))
            assert len(each["accuracy"]) == 2
            if each["ce"] is None:
                assert dense == 0
            else:
                assert each["ce"] == pytest.approx(errors / dense), (name, each["name"])
                ratios.append(each["ce"])
        assert entry["c_like"]["mce"] == pytest.approx(np.mean(ratios))
    versions = found.versions
    assert versions["candidate 5"]["c_like"]["mce"] > versions["float16"]["c_like"]["mce"]
    redundant = found.document["c_like"]["redundancy"]
    assert set(redundant) > {"clusters"} or "reason" not in redundant


def test_noise_and_attacks_come_with_the_dense_models(robust: tuple[Auditor, Findings]) -> None:
    _, found = robust
    for entry in (found.document["dense"], *found.versions.values()):
        assert [(a["attack"]["name"], a["transferred"]) for a in entry["attacks"]] == [
            ("fgsm", False),
            ("fgsm", True),
            ("pgd", False),
            ("pgd", True),
        ]
        rates = [each["value"] for each in entry["stability"]["flips"]]
        assert len(rates) == 5
        assert all(0 <= rate <= 1 for rate in rates)
    own, transferred = (found.document["dense"]["attacks"][place]["accuracy"] for place in (2, 3))
    # The dense model's own attack is what is transferred.
    assert own == transferred
    for entry in (found.document["dense"], *found.versions.values()):
        for each in entry["attacks"]:
            assert each["accuracy"] <= entry["c_like"]["clean_accuracy"]
    accuracies = [a["accuracy"] for entry in found.versions.values() for a in entry["attacks"]]
    assert min(accuracies) < max(accuracies)


def test_the_same_images_as_files_are_no_shift(robust: tuple[Auditor, Findings], digits: Target) -> None:
    """As PNG the sixteenths of grey are rounded to 255ths: no answer of any version changes."""
    _, found = robust
    assert found.document["shift"]["samples"] == 397
    assert found.document["shift"]["classes"] == 10
    for entry in (found.document["dense"], *found.versions.values()):
        assert entry["shift"]["accuracy"] == entry["shift"]["clean_accuracy"]
        assert entry["shift"]["relative_change"] == pytest.approx(0, abs=1e-12)
        assert entry["shift"]["excess_error"] == pytest.approx(0, abs=1e-12)
    assert digits.test is not None
    with torch.no_grad():
        right = float(
            (digits.model(digits.test.tensors()[0]).argmax(1) == digits.test.labels).double().mean()
        )
    assert found.document["dense"]["shift"]["accuracy"] == pytest.approx(right, abs=0.003)


def test_a_published_suite(robust: tuple[Auditor, Findings], digits: Target) -> None:
    _, found = robust
    suite = found.document["published"]
    assert suite["corruptions"] == ["darkness", "nothing"]
    assert suite["severities"] == [1, 2, 3, 4, 5]
    assert suite["samples"] == 40
    assert "40 of 60" in suite["text"]
    dense = {each["name"]: each for each in found.document["dense"]["published"]["corruptions"]}
    assert len(set(dense["nothing"]["accuracy"])) == 1
    assert dense["nothing"]["accuracy"][0] > 0.9
    # Nearly black at the last severity.
    assert dense["darkness"]["accuracy"][4] < 0.5 < dense["darkness"]["accuracy"][0]


def test_fewer_classes_elsewhere(
    digits: Target,
    digits_structure: Structure,
    digits_answers: Answers,
    folders: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    """Answers are among the classes that have images there."""
    for name in ("1", "7"):
        (tmp_path / name).mkdir()
        for file in (folders[0] / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    options = AuditOptions(
        levels=("quantisation",), samples=8, corruptions=("contrast",), severities=(5,), shift=str(tmp_path)
    )
    auditor = Auditor(digits, digits_structure, [], options, samples=256, answers=digits_answers)
    document = KINDS["robustness"].run(auditor).document
    assert document["shift"]["classes"] == 2
    assert digits.test is not None
    inputs, labels = digits.test.tensors()
    chosen = (labels == 1) | (labels == 7)
    with torch.no_grad():
        among = digits.model(inputs[chosen])[:, [1, 7]].argmax(1)
    expected = float((among == (labels[chosen] == 7)).double().mean())
    assert document["dense"]["shift"]["accuracy"] == pytest.approx(expected, abs=0.015)
    assert document["shift"]["samples"] == int(chosen.sum())


def test_no_folder_of_corrupted_images(
    digits: Target, digits_structure: Structure, digits_answers: Answers, folders: tuple[Path, Path]
) -> None:
    options = AuditOptions(levels=("quantisation",), corrupted=str(folders[0]), **WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, [], options, samples=256, answers=digits_answers)
    with pytest.raises(TargetError, match=r"holds no corrupted images: expected CIFAR-10-C's"):
        KINDS["robustness"].run(auditor)


def test_nothing_is_computed_twice(
    digits: Target, digits_structure: Structure, digits_answers: Answers, robust: tuple[Auditor, Findings]
) -> None:
    """All the statistics of corruptions from kept answers: no model is made."""
    done, _ = robust

    class Unmade:
        name, candidate = "candidate 5", 5
        key = done.versions[0].key

        def module(self, member: object) -> nn.Module:
            raise AssertionError("it is made again")

    options = AuditOptions(**WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, [Unmade()], options, samples=256, answers=digits_answers)
    positions = balanced(auditor.data.labels, 40, seed=0, share=1.0)
    assert digits.pixels is not None
    suite = c_like(auditor.data.subset(positions), digits.pixels, positions, options)
    results, _ = _suite(auditor, suite)
    assert results["candidate 5"].to_json() == robust[1].versions["candidate 5"]["c_like"]
