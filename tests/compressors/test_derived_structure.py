"""A target's structure is derived once, and again when weights, samples, attributes or code change."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from leanfront.core.compressors import derived_structure
from leanfront.core.compressors.derived_structure import skeleton_of, structure_of
from leanfront.core.compressors.statistics.cache import BankCache
from leanfront.core.compressors.structure.document import from_json, to_json
from leanfront.core.targets import Target

X = torch.randn(80, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the derivations that ran: those of the real functions."""
    ran: list[str] = []

    def watched(name: str) -> Callable[..., Any]:
        own = getattr(derived_structure, name)

        def run(*arguments: Any, **options: Any) -> Any:
            ran.append(name)
            return own(*arguments, **options)

        return run

    for name in ("derive", "skeleton"):
        monkeypatch.setattr(derived_structure, name, watched(name))
    return ran


def target(model: nn.Module, inputs: torch.Tensor = X) -> Target:
    return Target(model=model, example_input=inputs[:1], validation=(inputs, torch.arange(len(inputs)) % 4))


def test_a_document_gives_the_same_structure(net: Any) -> None:
    structure = structure_of(target(net.build()), cache=None)
    assert from_json(to_json(structure)) == structure


@pytest.mark.parametrize("content", [b"{}", b"[]", b"no json", b'{"parts": [1]}'])
def test_another_document_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not the document of a structure|Expecting value"):
        from_json(content)


def test_it_is_derived_once(nets: Any, tmp_path: Path, derivations: list[str]) -> None:
    cache, model = BankCache(tmp_path), nets["dense"].build()
    first = structure_of(target(model), cache=cache)
    assert structure_of(target(model), cache=cache) == first
    assert derivations == ["derive"]
    skeleton = skeleton_of(model, X[:1], cache)
    assert skeleton_of(nets["dense"].make().eval(), X[:1], cache) == skeleton
    assert derivations == ["derive", "skeleton"]


def test_other_weights_samples_and_attributes_are_derived_anew(
    nets: Any, tmp_path: Path, derivations: list[str]
) -> None:
    cache, model = BankCache(tmp_path), nets["dense"].build()
    structure_of(target(model), cache=cache)
    structure_of(target(model, X.flip(0)), cache=cache)
    model.linear.weight.data.mul_(2)
    structure_of(target(model), cache=cache)
    model.norm1.eps = 0.5
    structure_of(target(model), cache=cache)
    assert derivations == ["derive"] * 4


CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        x = self.conv(x)
        return self.linear(x.mean((2, 3)){})
"""


def test_other_code_with_the_same_outputs_is_derived_anew(tmp_path: Path, derivations: list[str]) -> None:
    found = []
    # The second counts on eight channels.
    for number, end in enumerate(("", ".view(-1, 8)")):
        file = tmp_path / f"net{number}.py"
        file.write_text(CODE.format(end))
        spec = importlib.util.spec_from_file_location("net_of_a_user", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["net_of_a_user"] = module
        spec.loader.exec_module(module)
        found.append(structure_of(target(module.Net()), cache=BankCache(tmp_path / "cache")))
    del sys.modules["net_of_a_user"]
    assert [set(each.groups) for each in found] == [{"conv"}, set()]
    assert derivations == ["derive", "derive"]


def test_a_damaged_entry_is_derived_anew(nets: Any, tmp_path: Path, derivations: list[str]) -> None:
    cache, model = BankCache(tmp_path), nets["chain"].build()
    first = structure_of(target(model), cache=cache)
    for file in tmp_path.rglob("*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-3] ^= 1
        file.write_bytes(bytes(content))
    assert structure_of(target(model), cache=cache) == first
    assert derivations == ["derive", "derive"]
