"""The kinds of audits on the digits: what they find is true, and what is written of it can be read."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from leanfront.core.audit import (
    KINDS,
    Answers,
    AuditOptions,
    Auditor,
    Configured,
    Findings,
    StoppedError,
    Version,
)
from leanfront.core.audit.kinds.exemplars.audit import LARGEST, png_address
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.statistics.outputs import outputs
from leanfront.core.objectives.calibration import calibration
from leanfront.core.targets import Target
from leanfront.errors import TargetError, UsageError

MODELS = 4
STATISTICS = ("classes", "exemplars", "calibration")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return Answers(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def auditor(digits: Target, digits_structure: Structure, cache: Answers) -> Auditor:
    """Pruned and quantised digits, beside a candidate."""
    candidate = Configured("candidate 5", Configuration(weight_bits={"conv3": 4}), 5)
    options = AuditOptions(models=MODELS, levels=("pruning", "quantisation"), gallery=5)
    return Auditor(digits, digits_structure, [candidate], options, samples=256, answers=cache)


@pytest.fixture(scope="module")
def found(auditor: Auditor) -> dict[str, Findings]:
    """What all kinds that need no further images find."""
    return {name: KINDS[name].run(auditor) for name in STATISTICS}


def test_documents_are_json(found: dict[str, Findings], auditor: Auditor) -> None:
    names = [version.name for version in auditor.versions]
    assert names[0] == "candidate 5"
    assert len(names) == 9
    for kind, each in found.items():
        document = {**each.document, "versions": list(each.versions.values())}
        assert json.loads(json.dumps(document, allow_nan=False)) == document, kind
        assert list(each.versions) == names
        assert [entry["version"] for entry in each.versions.values()] == names
        assert [entry["candidate"] for entry in each.versions.values()] == [5, *[None] * 8]
        assert (each.document["split"], each.document["samples"]) == ("test", 397)
    for kind in ("classes", "exemplars"):
        population = found[kind].document["population"]
        assert (population["kind"], population["models"], population["seed"]) == ("recalibrated", MODELS, 0)
        # What its noise does not hold is said.
        assert "4 re-calibrations of one model" in population["text"]


def test_harsher_pruning_forgets_more(found: dict[str, Findings]) -> None:
    """The published directions: arXiv 1911.05248, figures 2 and 5, table 2."""
    exemplars, classes = (found[kind].versions for kind in ("exemplars", "classes"))
    for mild in ("magnitude-0.1", "fixed-int8", "float16"):
        assert exemplars["magnitude-0.9"]["rate"] > 10 * exemplars[mild]["rate"]
        harsh, other = (classes[name]["by_p"]["n_significant"] for name in ("magnitude-0.9", mild))
        assert harsh > other
        assert classes["magnitude-0.9"]["top1"] < classes[mild]["top1"] - 0.1
    floor = exemplars["magnitude-0.9"]["floor"]
    assert floor["members"] == MODELS // 2
    assert floor["matched_rate"] > floor["rate_high"] >= floor["rate"] >= 0


def test_votes_are_the_documents(found: dict[str, Findings], auditor: Auditor) -> None:
    """Counted anew from the votes alone."""
    labels = auditor.data.labels.numpy()
    dense, own = (auditor.votes[name].predictions for name in ("dense", "magnitude-0.9"))

    def mode(votes: NDArray[np.int64]) -> NDArray[np.int64]:
        counts = np.stack([(votes == label).sum(axis=0) for label in range(10)])
        # Of equally many the largest label.
        return 9 - counts[::-1].argmax(axis=0)

    document = found["exemplars"].versions["magnitude-0.9"]
    changed = mode(dense) != mode(own)
    assert document["count"] == changed.sum()
    assert document["rate"] == pytest.approx(100 * changed.mean())
    assert document["subsets"]["exemplars"]["dense_top1"] == pytest.approx(
        (dense == labels)[:, changed].mean()
    )
    document = found["classes"].versions["magnitude-0.9"]
    assert document["dense_top1"] == pytest.approx((dense == labels).mean())
    assert document["top1"] == pytest.approx((own == labels).mean())
    for label, group in enumerate(document["groups"]):
        assert group["name"] == str(label)
        assert group["support"] == (labels == label).sum()
        assert group["recall"] == pytest.approx((own == labels)[:, labels == label].mean())
    assert found["classes"].document["frequencies"] == "training"
    assert [part["name"] for part in document["long_tail"]["parts"]] == ["tail", "middle", "head"]
    # All training samples are in some part, in the frequencies of what the network was trained on.
    assert sum(part["share"] for part in document["long_tail"]["parts"]) == pytest.approx(1)


def test_the_gallery_shows_the_samples(found: dict[str, Findings], auditor: Auditor, digits: Target) -> None:
    assert digits.test is not None
    inputs, labels = digits.test.tensors()
    originals = load_digits().images
    gallery = found["exemplars"].versions["magnitude-0.9"]["gallery"]
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
        votes = auditor.votes["magnitude-0.9"].predictions[:, each["index"]]
        assert each["compressed_share"] == pytest.approx((votes == each["compressed"]).mean())


def test_images_in_documents_are_small() -> None:
    for shape, mode in (((3, 200, 300), "RGB"), ((1, 300, 200), "L")):
        address = png_address(torch.randint(0, 256, shape, dtype=torch.uint8))
        image = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert image.mode == mode
        assert max(image.size) == LARGEST
        assert (image.size[0] > image.size[1]) == (shape[2] > shape[1])


def test_calibration_is_of_the_models_own_answers(found: dict[str, Findings], digits: Target) -> None:
    assert digits.test is not None
    device = torch.device("cpu")
    own, fit = (outputs(digits.model, data, 256, device) for data in (digits.test, digits.validation))
    expected = calibration(*own, fit=fit).to_json()
    document = found["calibration"].document["dense"]
    assert document["count"] == 397
    for name in ("ece", "nll", "brier", "ece_before", "ece_after", "nll_after"):
        assert document[name] == pytest.approx(expected[name], abs=1e-3), name
    assert document["temperature"]["value"] == pytest.approx(expected["temperature"]["value"], rel=1e-2)
    assert document["temperature"]["count"] == 400
    worse, nearly = (found["calibration"].versions[name] for name in ("magnitude-0.9", "float16"))
    assert worse["nll"] > 2 * document["nll"]
    assert nearly["nll"] == pytest.approx(document["nll"], abs=1e-3)


def test_where_no_test_split_is_the_temperature_is_fitted_on_a_half(
    tiny: Target, structure: Structure, answers: Answers
) -> None:
    splits = {name: getattr(tiny, name) for name in ("calibration", "validation")}
    bare = Target(model=tiny.model, example_input=tiny.example_input, **splits)
    auditor = Auditor(
        bare, structure, [], AuditOptions(levels=("quantisation",)), samples=64, answers=answers
    )
    assert auditor.split == "validation"
    document = KINDS["calibration"].run(auditor).document
    assert document["split"] == "validation"
    assert document["dense"]["judged"] == 100
    assert document["dense"]["temperature"]["count"] == 100


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


# Robustness

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
    digits: Target, digits_structure: Structure, cache: Answers, folders: tuple[Path, Path]
) -> tuple[Auditor, Findings]:
    tree, arrays = folders
    harsh = Configuration(sparsity=dict.fromkeys(digits_structure.layers, 0.8), criterion="l1")
    versions: list[Version] = [Configured("candidate 5", harsh, 5)]
    options = AuditOptions(levels=("quantisation",), corrupted=str(arrays), shift=str(tree), **WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, versions, options, samples=256, answers=cache)
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
    digits: Target, digits_structure: Structure, cache: Answers, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Answers are among the classes that have images there."""
    for name in ("1", "7"):
        (tmp_path / name).mkdir()
        for file in (folders[0] / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    options = AuditOptions(
        levels=("quantisation",), samples=8, corruptions=("contrast",), severities=(5,), shift=str(tmp_path)
    )
    auditor = Auditor(digits, digits_structure, [], options, samples=256, answers=cache)
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
    digits: Target, digits_structure: Structure, cache: Answers, folders: tuple[Path, Path]
) -> None:
    options = AuditOptions(levels=("quantisation",), corrupted=str(folders[0]), **WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, [], options, samples=256, answers=cache)
    with pytest.raises(TargetError, match=r"holds no corrupted images: expected CIFAR-10-C's"):
        KINDS["robustness"].run(auditor)


# The auditor


def test_nothing_is_computed_twice(
    digits: Target, digits_structure: Structure, cache: Answers, robust: tuple[Auditor, Findings]
) -> None:
    """All the statistics of corruptions from kept answers: no model is made."""
    done, _ = robust

    class Unmade:
        name, candidate = "candidate 5", 5
        key = done.versions[0].key

        def module(self, member: object) -> nn.Module:
            raise AssertionError("it is made again")

    options = AuditOptions(**WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, [Unmade()], options, samples=256, answers=cache)
    from leanfront.core.audit.kinds.robustness.audit import _suite
    from leanfront.core.audit.suites import c_like
    from leanfront.core.targets.sampling import balanced

    positions = balanced(auditor.data.labels, 40, seed=0, share=1.0)
    assert digits.pixels is not None
    suite = c_like(auditor.data.subset(positions), digits.pixels, positions, options)
    results, _ = _suite(auditor, suite)
    assert results["candidate 5"].to_json() == robust[1].versions["candidate 5"]["c_like"]


def test_what_is_audited_twice_is_refused(tiny: Target, structure: Structure) -> None:
    same = Configured("a", Configuration())
    with pytest.raises(UsageError, match="a version comes twice: a, a"):
        Auditor(tiny, structure, [same, same], AuditOptions(), samples=64)


@pytest.mark.parametrize("kind", ["classes", "calibration", "robustness"])
def test_it_stops_when_it_is_asked_to(
    digits: Target, digits_structure: Structure, answers: Answers, kind: str
) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    options = AuditOptions(models=2, levels=("quantisation",), **WAYS)  # type: ignore[arg-type]
    auditor = Auditor(digits, digits_structure, [], options, samples=64, answers=answers, stop=stop)
    with pytest.raises(StoppedError):
        KINDS[kind].run(auditor)
    kept = list(answers.folder.rglob("*.safetensors"))
    assert len(kept) == 3


def test_progress_is_told(tiny: Target, structure: Structure, answers: Answers) -> None:
    told: list[tuple[Any, ...]] = []
    auditor = Auditor(
        tiny,
        structure,
        [],
        AuditOptions(models=2, levels=("quantisation",)),
        samples=64,
        answers=answers,
        report=lambda *said: told.append(said),
    )
    KINDS["exemplars"].run(auditor)
    assert told == [("population", done, 8) for done in range(9)]
