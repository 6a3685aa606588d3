"""A reference is resolved twice, and the parts that differ are named."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leanfront.core.targets import Target, repetition, resolve
from leanfront.core.targets.differences import differences, require_same
from leanfront.core.targets.repetition import resolve_twice
from leanfront.errors import TargetError

HEAD = """
import random
import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset, random_split
import leanfront

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(60, 4, generator=G), torch.arange(60) % 3
ALL = TensorDataset(X, Y)


def network():
    model = nn.Linear(4, 3)
    nn.init.constant_(model.weight, 0.5)
    nn.init.zeros_(model.bias)
    return model


def made(model=None, **splits):
    splits.setdefault("validation", (X[:20], Y[:20]))
    splits.setdefault("calibration", (X[20:40], Y[20:40]))
    return leanfront.Target(model=model or network(), example_input=X[:1], **splits)
"""

SEVERAL = "the (validation|test|calibration) split"
UNSEEDED: dict[str, tuple[str, str]] = {
    "seeded anew": (
        "def f():\n torch.seed()\n a, b, c = random_split(ALL, [20, 20, 20])\n"
        " return made(validation=a, calibration=b, test=c)",
        rf"{SEVERAL} \(its samples or their order; 20 samples\), .* and the test split",
    ),
    "torch": (
        "def f():\n a, b = random_split(ALL, [40, 20])\n return made(validation=a, calibration=b)",
        r"the calibration split \(its samples or their order; 20 samples\) and the validation split",
    ),
    "at the top": (
        "a, b = random_split(ALL, [40, 20])\ndef f():\n return made(validation=a, calibration=b)",
        r"the calibration split .* and the validation split",
    ),
    "python": (
        "def f():\n i = list(range(60))\n random.shuffle(i)\n return made(validation=(X[i[:20]], Y[i[:20]]), "
        "calibration=(X[i[20:]], Y[i[20:]]))",
        "the calibration split .* and the validation split",
    ),
    "numpy": (
        "def f():\n i = np.random.permutation(20)\n return made(validation=(X[:20][i], Y[:20][i]))",
        r"the validation split \(its samples or their order; 20 samples\) changed",
    ),
    "generator": (
        "def f():\n noise = np.random.default_rng().normal(size=(20, 4))\n"
        " return made(validation=(X[:20] + torch.as_tensor(noise), Y[:20]))",
        r"the validation split \(its inputs; 20 samples\) changed",
    ),
    "size": (
        "def f():\n n = int(torch.randint(5, 20_000, ()))\n "
        "return made(train=(torch.zeros(n, 4), torch.arange(n) % 3))",
        r"the train split \([\d,]+ samples, now [\d,]+\) changed",
    ),
    "weights": ("def f():\n return made(nn.Linear(4, 3))", "the values of the weights changed"),
    "structure": (
        "def f():\n n = int(torch.randint(5, 10**4, ()))\n "
        "return made(nn.Sequential(nn.Linear(4, n), nn.Linear(n, 3)))",
        "the structure of the model .* changed",
    ),
    "classes": (
        "def f():\n return made(classes=[str(random.random()) for _ in range(3)])",
        "the classes or their order changed",
    ),
}


def written(folder: Path, body: str) -> str:
    (folder / "mine.py").write_text(HEAD + "\n" + body + "\n")
    return f"{folder / 'mine.py'}:f"


@pytest.mark.parametrize("kind", UNSEEDED)
def test_what_another_process_would_not_repeat_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    body, said = UNSEEDED[kind]
    with pytest.raises(TargetError, match=f"gives another target every time: {said}"):
        resolve_twice(written(tmp_path, body))


SEEDED = {
    "generator": "def f():\n a, b = random_split(ALL, [40, 20], G.manual_seed(1))\n "
    "return made(validation=a, calibration=b)",
    "in the function": "def f():\n torch.manual_seed(0)\n return made(nn.Linear(4, 3))",
    "at the top": "torch.manual_seed(0)\ndef f():\n return made(nn.Linear(4, 3))",
    "beside": "from weights_beside import model\ndef f():\n return made(model)",
    "everything": "random.seed(1)\nnp.random.seed(1)\ntorch.manual_seed(1)\ndef f():\n"
    " i = np.random.permutation(20)\n return made(nn.Linear(4, 3), validation=(X[i] + random.random(), Y[i]))",
    "registers": "if hasattr(torch, 'mine_once'):\n raise RuntimeError('registered already')\ntorch.mine_once = 1\n"
    "torch.manual_seed(0)\nmodel = nn.Linear(4, 3)\ndef f():\n return made(model)",
}


@pytest.mark.parametrize("kind", SEEDED)
def test_what_every_process_repeats_is_accepted(kind: str, tmp_path: Path) -> None:
    (tmp_path / "weights_beside.py").write_text(
        "import torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(4, 3)\n"
    )
    reference = written(tmp_path, SEEDED[kind])
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # noqa: NPY002
    try:
        found = resolve_twice(reference)
        assert found.reference == reference
        # The same again, later in this process.
        torch.rand(3)
        assert resolve(reference).fingerprint == found.fingerprint
    finally:
        if hasattr(torch, "mine_once"):
            del torch.mine_once
    assert states[:2] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert states[2] != torch.random.get_rng_state().tolist()  # by the draw above alone


def test_modules_stay_those_of_the_first_resolution(tmp_path: Path) -> None:
    import sys

    (tmp_path / "beside_kept.py").write_text("class Kept: pass\n")
    reference = written(tmp_path, "from beside_kept import Kept\ndef f():\n return made()")
    first = resolve(reference)
    kept = sys.modules["beside_kept"]
    assert resolve_twice(reference).fingerprint == first.fingerprint
    assert sys.modules["beside_kept"] is kept


@pytest.mark.parametrize("limit", ["SECONDS", "BYTES"])
def test_slow_and_large_targets_are_loaded_once_and_it_is_said(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repetition, limit, 0)
    with caplog.at_level(logging.WARNING):
        resolve_twice(written(tmp_path, UNSEEDED["weights"][0]))
    assert "was not loaded a second time" in caplog.text


def test_built_in_targets_are_loaded_once(monkeypatch: pytest.MonkeyPatch, digits: Target) -> None:
    count: list[str] = []
    monkeypatch.setattr(repetition, "resolve", lambda reference: count.append(reference) or digits)
    assert resolve_twice("digits") is digits
    assert count == ["digits"]


def parts(target: Target, **changes: str) -> list[str]:
    return differences({**target.digests, **changes}, target.digests)


def test_differences_are_described(tiny: Target) -> None:
    labels = tiny.digests["test"].split(":")[1]
    assert parts(tiny) == []
    assert parts(tiny, weights="0") == ["the values of the weights"]
    assert parts(tiny, weights="0", model="0") == [
        "the structure of the model (its modules, or names and shapes of its weights)"
    ]
    assert parts(tiny, inputs="0", classes="0") == [
        "the classes or their order",
        "the shape or type of the inputs",
    ]
    assert parts(tiny, test=f"120:{labels}:0", train="3:0:-") == [
        "the test split (its inputs; 120 samples)",
        "the train split (missing now)",
    ]


@pytest.mark.parametrize("digests", [None, {}])
def test_targets_of_old_databases_differ_without_a_part(digests: dict[str, str] | None, tiny: Target) -> None:
    with pytest.raises(TargetError, match=r"^other target$"):
        require_same(tiny, "0" * 64, digests, lambda what: f"other target{what}")
    require_same(tiny, tiny.fingerprint, digests, lambda what: "never")


def change(name: str) -> Callable[[Target], Target]:
    def changed(target: Target) -> Target:
        splits = {**target.splits}
        if name in splits:
            splits[name] = splits[name].subset(range(len(splits[name]) - 1))
        return Target(
            model=target.model, example_input=target.example_input, classes=target.classes, **splits
        )

    return changed


@pytest.mark.parametrize("name", ["calibration", "validation", "test"])
def test_a_changed_split_is_named(name: str, tiny: Target) -> None:
    other = change(name)(tiny)
    count = len(tiny.splits[name])
    with pytest.raises(
        TargetError, match=rf"^the {name} split \({count} samples, now {count - 1}\) differs$"
    ):
        require_same(other, tiny.fingerprint, tiny.digests, str)
