"""Built-in networks by the names that artifacts carry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from leanfront.core.targets import BUILTINS, Target, resolve
from leanfront.core.targets.architectures import ARCHITECTURES, architecture, architecture_name
from leanfront.errors import TargetError, UsageError


def test_every_built_in_target_has_one() -> None:
    """Except those of libraries that the loading machine may not have: `load` asks for their module."""
    assert set(BUILTINS) - set(ARCHITECTURES) == {"timm:<model>", "transformers:<model>"}
    assert set(ARCHITECTURES) <= set(BUILTINS)


def shapes(model: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def test_of_a_built_in_target(digits: Target) -> None:
    assert architecture_name(digits) == "digits"
    before = torch.get_rng_state()
    found = architecture("digits")
    assert torch.equal(torch.get_rng_state(), before)
    assert found is not None
    model, example = found
    assert not model.training
    assert type(model) is type(digits.model)
    assert example.shape == digits.example_input.shape
    assert shapes(model) == shapes(digits.model)


def test_of_a_torchvision_model(tmp_path: Path, write_tree: Any) -> None:
    tree = write_tree(tmp_path / "tree", ("val", "train"), per_class=4)
    target = resolve(f"torchvision:squeezenet1_1?data={tree}&weights=random&size=64")
    name = architecture_name(target)
    assert name == "torchvision:squeezenet1_1?classes=3"
    found = architecture(name)
    assert found is not None
    assert shapes(found[0]) == shapes(target.model)
    plain = architecture("torchvision:squeezenet1_1")
    assert plain is not None
    assert plain[0](plain[1]).shape == (1, 1000)


def test_what_torchvisions_own_weights_bring_along() -> None:
    found = architecture("torchvision:googlenet?classes=5&transform_input=1")
    assert found is not None
    model, example = found
    assert model.transform_input
    assert model.aux1 is None
    with torch.no_grad():
        assert model(example).shape == (1, 5)


def test_of_other_targets(tiny: Target) -> None:
    assert architecture_name(tiny) == "tiny"
    for name in (
        "",
        "tiny",
        "digits:x",
        "torchvision",
        "cifar10-resnet20?data=x",
        "digits?classes=0",
        "file.py:f",
    ):
        assert architecture(name) is None


def test_what_cannot_be_built() -> None:
    with pytest.raises(TargetError, match="tells 10 classes apart, not 3"):
        architecture("digits?classes=3")
    with pytest.raises(UsageError, match="no classification model 'resnet19'"):
        architecture("torchvision:resnet19")
    found = architecture("cifar10-resnet20?classes=3")
    assert found is not None
    assert found[0](found[1]).shape == (1, 3)
