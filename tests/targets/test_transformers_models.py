"""Classifiers of transformers from folders, with the library itself as oracle."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from leanfront.core.targets import Pixels, resolve
from leanfront.core.targets.label_names import in_models_order
from leanfront.errors import TargetError, UsageError

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "film",
    "a",
    "##s",
    *"bcdefghijklmnopqrstuvwxyz",
)
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A folder with an image classifier of three classes in an order of its own."""
    torch.manual_seed(0)
    labels = {0: "bee", 1: "ant, emmet", 2: "zebra"}
    config = ViTConfig(image_size=32, patch_size=8, id2label=labels, **SIZES)
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


@pytest.fixture
def tree(tmp_path: Path, write_tree: Any) -> Path:
    return write_tree(tmp_path / "tree", ("val", "test"), per_class=4)


def test_images(vit: Path, tree: Path) -> None:
    target = resolve(f"transformers:{vit}?data={tree}")
    assert target.classes == ("bee", "ant", "Zebra")
    assert target.pixels == Pixels((0.5,) * 3, (0.5,) * 3)
    processor = ViTImageProcessor.from_pretrained(vit)
    images = [Image.open(path).convert("RGB") for path in sorted((tree / "test" / "Zebra").iterdir())]
    expected = processor(images=images, return_tensors="pt")["pixel_values"]
    assert target.test is not None
    inputs, labels = target.test.tensors()
    torch.testing.assert_close(inputs[labels == 2], expected)
    model = ViTForImageClassification.from_pretrained(vit).eval()
    with torch.no_grad():
        torch.testing.assert_close(target.model(inputs), model(pixel_values=inputs).logits)
    assert target.fingerprint == resolve(f"transformers:{vit}?data={tree}").fingerprint


def test_images_trained_anew(vit: Path, tmp_path: Path, write_tree: Any) -> None:
    tree = write_tree(tmp_path / "trained", ("train", "val"), per_class=4)
    target = resolve(f"transformers:{vit}?data={tree}")
    assert target.retrain is not None


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A folder with a classifier of texts."""
    torch.manual_seed(0)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    config = BertConfig(vocab_size=len(WORDS), id2label={0: "negative", 1: "positive"}, **SIZES)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def write_texts(folder: Path, kind: str, labels: tuple[str, str] = ("negative", "positive")) -> Path:
    """Write tables of 12 texts, of three words and four."""
    folder.mkdir()
    rows = [
        {"text": f"{('bad', 'good')[number % 2]} film {letter}", "label": labels[number % 2]}
        for number, letter in enumerate("bcdefghijklm")
    ]
    for split in ("validation", "test"):
        path = folder / f"{split}.{kind}"
        if kind == "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
        else:
            mark = "," if kind == "csv" else "\t"
            path.write_text("\n".join(["text" + mark + "label", *(mark.join(row.values()) for row in rows)]))
        rows = [{**row, "text": f"{row['text']} a"} for row in rows]
    return folder


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_texts(bert: Path, tmp_path: Path, kind: str) -> None:
    data = write_texts(tmp_path / "texts", kind)
    target = resolve(f"transformers:{bert}?data={data}&length=8")
    assert target.classes == ("negative", "positive")
    assert target.test is not None
    inputs, labels = target.test.tensors()
    assert inputs.shape == (12, 8)
    assert inputs.dtype == torch.int64
    assert labels.tolist() == [0, 1] * 6
    model = BertForSequenceClassification.from_pretrained(bert).eval()
    tokeniser = BertTokenizerFast.from_pretrained(bert)
    with torch.no_grad():
        found = target.model(inputs)
        # One text alone needs no padding.
        for number, text in enumerate(["bad film b a", "good film c a"]):
            torch.testing.assert_close(
                found[number : number + 1], model(**tokeniser(text, return_tensors="pt")).logits
            )


@pytest.mark.parametrize("labels", [("0", "1"), ("Negative", "POSITIVE")])
def test_labels_by_number_or_name(bert: Path, tmp_path: Path, labels: tuple[str, str]) -> None:
    data = write_texts(tmp_path / "texts", "csv", labels)
    assert resolve(f"transformers:{bert}?data={data}&length=8").validation.labels.unique().tolist() == [0, 1]


def test_what_is_wrong_with_texts(bert: Path, tmp_path: Path) -> None:
    data = write_texts(tmp_path / "texts", "csv")
    with pytest.raises(TargetError, match=r"row 1 of .* has no 'review', but text, label; name the columns"):
        resolve(f"transformers:{bert}?data={data}&text=review")
    (data / "validation.tsv").write_text("text\tlabel\n")
    with pytest.raises(TargetError, match=r"has validation\.csv and validation\.tsv; keep one"):
        resolve(f"transformers:{bert}?data={data}")
    with pytest.raises(TargetError, match=r"has no validation\.csv or validation\.tsv or validation\.jsonl"):
        resolve(f"transformers:{bert}?data={tmp_path / 'bert'}")
    other = write_texts(tmp_path / "other", "jsonl", ("negative", "neutral"))
    with pytest.raises(TargetError, match=r"lack the model's class.* 'positive'.* does not know 'neutral'"):
        resolve(f"transformers:{bert}?data={other}")


def test_what_is_wrong_with_models(
    bert: Path, vit: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BertForMaskedLM(BertConfig(vocab_size=8, **SIZES)).save_pretrained(tmp_path / "masked")
    with pytest.raises(TargetError, match="BertForMaskedLM; image and sequence classifiers can be used"):
        resolve(f"transformers:{tmp_path / 'masked'}?data={tree}")
    with pytest.raises(TargetError, match="cannot load it"):
        resolve(f"transformers:{tree}?data={tree}")
    # Weights that Python would have to unpickle are not read.
    state = ViTForImageClassification.from_pretrained(vit).state_dict()
    (vit / "model.safetensors").unlink()
    torch.save(state, vit / "pytorch_model.bin")
    with pytest.raises(TargetError, match=r"cannot load it.*safetensors"):
        resolve(f"transformers:{vit}?data={tree}")
    with pytest.raises(TargetError, match=r"needs data: write 'transformers:.*\?data=FOLDER'"):
        resolve(f"transformers:{vit}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install 'leanfront\[transformers\]'"):
        resolve(f"transformers:{vit}?data={tree}")


@pytest.mark.parametrize(
    ("found", "labels", "order"),
    [
        (("a", "b"), ("LABEL_0", "LABEL_1"), ("a", "b")),
        (("cat", "dog"), ("dog", "cat"), ("dog", "cat")),
        (("great_grey_owl", "tench"), ("tench, Tinca tinca", "Great grey owl"), ("tench", "great_grey_owl")),
        (("n01", "n02"), ("tench", "owl"), ("n01", "n02")),
    ],
)
def test_classes_are_in_the_models_order(
    found: tuple[str, ...], labels: tuple[str, ...], order: tuple[str, ...]
) -> None:
    assert in_models_order("it", found, labels) == order


@pytest.mark.parametrize(
    ("found", "labels", "words"),
    [
        (("a", "b"), ("a", "b", "c"), "tells 3 classes apart"),
        (("a", "x"), ("a", "b"), r"lack the model's class\(es\) 'b'.*not know 'x'"),
    ],
)
def test_classes_that_do_not_fit(found: tuple[str, ...], labels: tuple[str, ...], words: str) -> None:
    with pytest.raises(TargetError, match=words):
        in_models_order("it", found, labels)
