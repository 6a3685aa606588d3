"""Samples in the forms that people's datasets give: mappings, tuples of more than two, named fields."""

from __future__ import annotations

from collections import UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, default_collate

from leanfront.core.targets import Target
from leanfront.errors import TargetError

X, Y = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 3


class Made:
    """A dataset of what a function makes of (input, label, index)."""

    def __init__(self, form: Callable[[torch.Tensor, int, int], Any]) -> None:
        self.form = form

    def __len__(self) -> int:
        return len(Y)

    def __getitem__(self, index: int) -> Any:
        return self.form(X[index], int(Y[index]), index)


def made(source: Any, **keys: Any) -> Target:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    return Target(model=model, example_input=X[:1], validation=source, calibration=(X + 1, Y), **keys)


Three = namedtuple("Three", "image label path")

FOUND: dict[str, Any] = {
    "image, label": Made(lambda x, y, i: {"image": x, "label": y}),
    "pixel_values, labels": Made(lambda x, y, i: UserDict({"labels": torch.tensor(y), "pixel_values": x})),
    "input, target": Made(lambda x, y, i: {"input": x.numpy(), "target": np.int64(y), "path": f"{i}.png"}),
    "with a flag": Made(lambda x, y, i: {"x": x, "y": torch.tensor([y]), "flipped": False, "weight": 0.5}),
    "batches": DataLoader(Made(lambda x, y, i: {"image": x, "label": y}), 8),  # type: ignore[arg-type]
    "own batches": DataLoader(
        Made(lambda x, y, i: {"image": x, "label": y}),  # type: ignore[arg-type]
        8,
        collate_fn=lambda rows: default_collate(rows),
    ),
    "whole tensors": {"pixel_values": X, "labels": Y},
}


@pytest.mark.parametrize("form", FOUND)
def test_one_tensor_and_one_label_are_found(form: str) -> None:
    inputs, labels = made(FOUND[form]).validation.tensors()
    assert torch.equal(inputs, X)
    assert torch.equal(labels, Y)


NAMED: dict[str, tuple[Any, str | int, str | int]] = {
    "mask": (Made(lambda x, y, i: {"image": x, "mask": x > 0, "label": y}), "image", "label"),
    "index": (Made(lambda x, y, i: {"image": x, "index": i, "label": y}), "image", "label"),
    "triple": (Made(lambda x, y, i: (x, y, i)), 0, 1),
    "triple, other order": (Made(lambda x, y, i: (i, x, y)), 1, 2),
    "named tuple": (Made(lambda x, y, i: Three(x, y, f"{i}.png")), 0, 1),
    "three tensors": (TensorDataset(X, torch.arange(20), Y), 0, 2),
    "own batches": (
        DataLoader(
            Made(lambda x, y, i: (x, y, i)),  # type: ignore[arg-type]
            8,
            collate_fn=lambda rows: default_collate(rows),
        ),
        0,
        1,
    ),
    "whole tensors": ({"a": X, "b": X, "y": Y}, "a", "y"),
}


@pytest.mark.parametrize("form", NAMED)
def test_keys_say_which_is_which(form: str) -> None:
    source, inputs_key, labels_key = NAMED[form]
    target = made(source, inputs_key=inputs_key, labels_key=labels_key)
    inputs, labels = target.validation.tensors()
    assert torch.equal(inputs, X)
    assert torch.equal(labels, Y)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (
            NAMED["mask"][0],
            r"sample 0 is a mapping with 2 tensors: it has image \(float32 of shape \(3, 4, 4\)\), mask ",
        ),
        (NAMED["index"][0], r"2 integers: .*Target\(inputs_key='image', labels_key='index'\) or others"),
        (NAMED["triple"][0], r"a tuple of 3 at sample 0 .*Target\(inputs_key=0, labels_key=1\)"),
        (NAMED["whole tensors"][0], "the source is a mapping with 2 tensors"),
        (
            Made(lambda x, y, i: {"image": x}),
            r"is unlabelled: sample 0 is a mapping without an integer label",
        ),
        (Made(lambda x, y, i: {"image": x, "label": 1.0}), r"without an integer label: .*label \(float\)"),
        (
            Made(lambda x, y, i: {"image": "a.png", "label": y}),
            r"without a tensor: it has image \(str\), label \(int\)",
        ),
    ],
)
def test_what_cannot_be_found_is_listed(form: Any, said: str) -> None:
    with pytest.raises(TargetError, match=f"^validation: .*{said}"):
        made(form)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"inputs_key": "image"}, "inputs_key is 'image' and labels_key is None; give both"),
        ({"inputs_key": "image", "labels_key": 1.5}, "labels_key is 1.5; give the key"),
        (
            {"inputs_key": "picture", "labels_key": "label"},
            "sample 0 has nothing at the key 'picture'; it has image",
        ),
    ],
)
def test_wrong_keys_are_named(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(TargetError, match=said):
        made(FOUND["image, label"], **keys)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("form", ["pair", "dataset", "file", "batches"])
def test_an_input_that_is_not_finite_is_named(form: str, value: float) -> None:
    wrong = X.clone()
    wrong[7, 1, 2, 3] = value

    class Late(Made):
        targets = Y.tolist()

    sources: dict[str, Any] = {
        "pair": (wrong, Y),
        "dataset": Made(lambda x, y, i: (wrong[i], y)),
        "file": Late(lambda x, y, i: (wrong[i], y)),
        "batches": DataLoader(TensorDataset(wrong, Y), 4, collate_fn=lambda rows: default_collate(rows)),
    }
    with pytest.raises(TargetError, match=r"^validation: the input of sample 7 has (NaN|infinity)"):
        made(sources[form]).validation.tensors()


def test_large_inputs_are_finite() -> None:
    assert len(made((X.clamp(-1, 1) * 3e38, Y)).validation) == 20


@pytest.mark.parametrize("listed", [False, True])
def test_images_of_several_sizes_are_refused_with_the_remedy(listed: bool) -> None:
    class Sizes(Made):
        def __init__(self) -> None:
            super().__init__(lambda x, y, i: (x if i != 5 else x[:, :, :3], y))
            if listed:
                self.targets = Y.tolist()

    with pytest.raises(TargetError, match=r"sample 5 has shape \(3, 4, 3\), .*torchvision.transforms.Resize"):
        made(Sizes()).validation.tensors()
