"""What the calibration passes give: made once, and the same wherever it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import BankCache, Compressor, Configuration
from leanfront.core.compressors.configuration import METHODS
from leanfront.core.compressors.statistics.derived import FOLDER
from leanfront.core.targets import Target

CRITERIA = ("reconstruction", "fisher")


def configurations() -> list[Configuration]:
    return [
        Configuration(
            channels={"conv1": 5, "conv3": 9},
            weight_bits={"conv1": 3, "conv2": 4, "linear": 3},
            method=method,
            criterion=criterion,
        )
        for method in METHODS
        for criterion in CRITERIA
    ]


def made(target: Target, folder: Path) -> list[dict[str, Tensor]]:
    """All modules, by a compressor that knows nothing but the folder."""
    compressor = Compressor(target, cache=BankCache(folder))
    return [compressor.materialise(each).module.state_dict() for each in configurations()]


def equal(one: list[dict[str, Tensor]], other: list[dict[str, Tensor]]) -> bool:
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(one, other, strict=True)
    )


def files(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).rglob("*.safetensors"))


def never(*_: object, **__: object) -> NoReturn:
    raise AssertionError("computed again")


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (
        "leanfront.core.compressors.pruning.saliency.collect",
        "leanfront.core.compressors.pruning.saliency._gradients",
        "leanfront.core.compressors.pruning.saliency.removal",
    ):
        monkeypatch.setattr(place, never)


def test_what_one_process_made_another_reads_bit_for_bit(
    tiny: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(tiny, tmp_path / "one")
    assert equal(made(tiny, tmp_path / "two"), first)
    groups = len(Compressor(tiny).structure.groups)
    assert len(files(tmp_path / "one")) == groups + 3  # moments, gradients, norms
    forbid(monkeypatch)
    assert equal(made(tiny, tmp_path / "one"), first)
    with pytest.raises(Exception, match="computed again"):
        made(tiny, tmp_path / "three")


def test_moments_come_back_whole(tiny: Target, tmp_path: Path) -> None:
    one, two = (Compressor(tiny, cache=BankCache(tmp_path)).context for _ in range(2))
    fresh, read = one.saliency.moments, two.saliency.moments
    assert list(fresh) == list(read)
    for layer in fresh:
        assert (fresh[layer].blocks, fresh[layer].samples) == (read[layer].blocks, read[layer].samples)
        assert torch.equal(fresh[layer].fisher, read[layer].fisher)
        for a, b in zip(fresh[layer].covariance, read[layer].covariance, strict=True):
            assert torch.equal(a, b)
    for group in one.structure.groups.values():
        assert one.saliency.removal(group) == two.saliency.removal(group)


def test_damaged_files_are_made_again(tiny: Target, tmp_path: Path) -> None:
    first = made(tiny, tmp_path)
    whole = {path: path.read_bytes() for path in files(tmp_path)}
    for path, content in whole.items():
        damaged = bytearray(content)
        damaged[-3] ^= 64
        path.write_bytes(damaged)
    assert equal(made(tiny, tmp_path), first)
    assert {path: path.read_bytes() for path in files(tmp_path)} == whole


class Net(nn.Module):
    """Its code is `slope`'s, which no weight tells of."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.linear = nn.Linear(4, 4)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.leaky_relu(self.conv1(x), self.slope)
        x = nn.functional.leaky_relu(self.conv2(x), self.slope)
        return self.linear(x.mean((2, 3)))


def variant(
    tiny: Target, *, slope: float = 0.0, weight: float = 0.0, first: int = 0, flip: bool = False
) -> Target:
    torch.manual_seed(3)
    model = Net(slope)
    with torch.no_grad():
        model.conv1.weight[0, 0, 0, 0] += weight
    inputs, labels = tiny.calibration.tensors()
    labels = labels.flip(0) if flip else labels
    return Target(
        model=model,
        example_input=tiny.example_input,
        calibration=(inputs[first : first + 100], labels[first : first + 100]),
        validation=tiny.validation.tensors(),
    )


@pytest.mark.parametrize(
    ("change", "moments", "gradients"),
    [
        ({}, True, True),
        ({"weight": 1e-3}, False, False),
        ({"first": 1}, False, False),
        ({"slope": 0.5}, False, False),
        ({"flip": True}, True, False),  # labels are read for gradients alone
    ],
)
def test_only_what_was_made_of_the_same_is_read(
    tiny: Target,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, float],
    moments: bool,
    gradients: bool,
) -> None:
    saliency = Compressor(variant(tiny), cache=BankCache(tmp_path)).context.saliency
    assert set(saliency.moments) == {"conv1", "conv2", "linear"}
    saliency.gradient("conv1")
    forbid(monkeypatch)
    other = Compressor(variant(tiny, **change), cache=BankCache(tmp_path)).context.saliency  # type: ignore[arg-type]
    for read, look in ((moments, lambda: other.moments), (gradients, lambda: other.gradient("conv1"))):
        if read:
            look()
        else:
            with pytest.raises(AssertionError, match="computed again"):
                look()
