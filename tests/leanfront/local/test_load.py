"""`leanfront.load`: from the file to predictions, with whatever says what the architecture is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import leanfront
from leanfront.core.compressors import Compressed, Compressor, Configuration
from leanfront.core.compressors.artifact.packed_file import write
from leanfront.core.compressors.structure.folding import fold
from leanfront.core.targets import Target, resolve
from leanfront.core.targets.architectures import architecture_name
from leanfront.core.targets.memory_format import in_format
from leanfront.errors import ArtifactError, TargetError


def small(target: Target) -> tuple[Compressor, Compressed]:
    """Half of the channels, 4 bits, 8 for activations."""
    compressor = Compressor(target, samples=64)
    structure = compressor.structure
    return compressor, compressor.materialise(
        Configuration(
            channels={name: group.units // 2 for name, group in structure.groups.items()},
            weight_bits=dict.fromkeys(structure.layers, 4),
            activation_bits=dict.fromkeys(structure.layers, 8),
        )
    )


def saved(path: Path, compressor: Compressor, compressed: Compressed) -> Path:
    path.write_bytes(write(compressed, compressor.structure, architecture_name(compressor.target)))
    return path


def same_outputs(compressor: Compressor, compressed: Compressed, module: nn.Module) -> None:
    """Of folded copies, whose arithmetic is the same to the last bit."""
    inputs, _ = next(compressor.target.validation.batches(64))
    inputs = in_format(inputs, True)  # as candidates are measured
    made = compressed.module
    fold(made, compressor.context.foldable)
    fold(module, compressor.context.foldable)
    with torch.no_grad():
        assert torch.equal(module(inputs), made(inputs))


def test_a_built_in_one_needs_nothing_else(digits: Target, tmp_path: Path) -> None:
    compressor, compressed = small(digits)
    file = saved(tmp_path / "small.safetensors", compressor, compressed)
    same_outputs(compressor, compressed, leanfront.load(file))


def test_ones_own_by_target_reference_or_module(tiny: Target, tiny_file: Path, tmp_path: Path) -> None:
    compressor, compressed = small(tiny)
    file = saved(tmp_path / "small.safetensors", compressor, compressed)
    with pytest.raises(TargetError, match="of 'tiny', whose network is not built in: pass the architecture"):
        leanfront.load(file)
    fresh = type(tiny.model)()
    with pytest.raises(TargetError, match="channels cut: give an example input"):
        leanfront.load(file, fresh)
    ways: list[dict[str, Any]] = [
        {"target": tiny},
        {"target": f"{tiny_file}:target"},
        {"target": fresh, "example_input": tiny.example_input},
    ]
    inputs, _ = next(tiny.validation.batches(64))
    found = [leanfront.load(str(file), **way) for way in ways]
    with torch.no_grad():
        first = found[0](inputs)
        assert all(torch.equal(module(inputs), first) for module in found[1:])
    same_outputs(compressor, compressed, found[0])
    with pytest.raises(ArtifactError, match="of another architecture"):
        leanfront.load(file, "digits")


class Mapping(nn.Module):
    """Returns its logits by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        self.head = nn.Linear(288, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return {"logits": self.head(torch.relu(self.conv(x)).flatten(1)), "features": x}


class Object(Mapping):
    def forward(self, x: torch.Tensor) -> Any:
        return SimpleNamespace(**super().forward(x))


@pytest.mark.parametrize("kind", [Mapping, Object])
@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel])
def test_what_is_loaded_returns_what_the_candidate_returns(kind: Any, wrap: Any, tmp_path: Path) -> None:
    inputs = torch.randn(20, 3, 8, 8)
    model = kind().eval()
    target = Target(model=model, example_input=inputs[:1], validation=(inputs, torch.arange(20) % 3))
    compressor = Compressor(target, samples=20)
    compressed = compressor.materialise(Configuration(weight_bits={"conv": 8}))
    file = tmp_path / "m.safetensors"
    file.write_bytes(write(compressed, compressor.structure))
    ways: list[dict[str, Any]] = [
        {"target": target},
        {"target": wrap(kind())},
        {"target": wrap(kind()), "example_input": inputs[:1]},
    ]
    for way in ways:
        assert torch.allclose(leanfront.load(file, **way)(inputs), compressed.module(inputs), atol=1e-5)


def test_the_file_runs_no_code(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code = tmp_path / "evil.py"
    code.write_text(f"open({str(witness)!r}, 'w')\ndef target(): ...\n", encoding="utf-8")
    model = nn.Linear(3, 2).eval()
    structure = leanfront.derive(model, torch.zeros(1, 3))
    file = tmp_path / "m.safetensors"
    file.write_bytes(write(Compressed(model, Configuration()), structure, f"{code}:target"))
    with pytest.raises(TargetError, match="not built in"):
        leanfront.load(file)
    assert not witness.exists()
    assert torch.equal(leanfront.load(file, nn.Linear(3, 2)).weight, model.weight)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read: No such file"):
        leanfront.load(tmp_path / "none.safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        leanfront.load(tmp_path)
    (tmp_path / "text").write_text("no artifact, but a text", encoding="utf-8")
    with pytest.raises(ArtifactError, match="not an artifact"):
        leanfront.load(tmp_path / "text")


@pytest.mark.slow
def test_resnet20_keeps_its_predictions(shared_data: Path, tmp_path: Path) -> None:
    target = resolve(
        f"cifar10-resnet20?data={shared_data / 'cifar10_jpeg.zip'}"
        f"&weights={shared_data / 'resnet20_cifar10_jpeg.safetensors'}"
    )
    compressor, compressed = small(target)
    file = saved(tmp_path / "small.safetensors", compressor, compressed)
    same_outputs(compressor, compressed, leanfront.load(file))
