"""Exported files take batches of any size, or are refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.exchange.batch_check import check_batches
from leanfront.core.compressors.exchange.onnx_outputs import onnx_runner
from leanfront.core.compressors.exchange.writers import onnx_file, program
from leanfront.core.targets import Target
from leanfront.errors import CompressionError

PROBE = torch.randn(60, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Sized(nn.Module):
    """Reads its batch size in a way of its own."""

    def __init__(self, size: Callable[[Tensor], int]) -> None:
        super().__init__()
        self.size = size
        self.project, self.head = nn.Linear(12, 8), nn.Linear(8, 3)
        self.token = nn.Parameter(torch.ones(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        n = self.size(x)
        x = torch.relu(self.project(x.reshape(n, 4, 12)))
        return self.head(torch.cat([self.token.expand(n, -1, -1), x], 1).mean(1))


class Stacked(nn.Module):
    """Calls itself for each sample in a loop, which no graph can hold for any number of them."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.head(each.flatten()) for each in x.unbind()])


SIZES: dict[str, Callable[[Tensor], int]] = {
    "shape": lambda x: x.shape[0],
    "size": lambda x: x.size(0),
    "len": len,
    "int": lambda x: int(x.shape[0]),
}
WRITERS: dict[str, Any] = {"onnx": onnx_file, "pt2": program}


def run(kind: str, content: bytes) -> Callable[[Tensor], Tensor]:
    if kind == "onnx":
        return onnx_runner(content)
    module: Any = torch.export.load(io.BytesIO(content)).module()
    return module  # type: ignore[no-any-return]


def written(kind: str, model: nn.Module) -> tuple[bytes, nn.Module]:
    target = Target(model=model.eval(), example_input=PROBE[:1], validation=(PROBE, torch.arange(60) % 3))
    compressor = Compressor(target, samples=20)
    layer = compressor.structure.layers[0]
    compressed = compressor.materialise(Configuration(weight_bits={layer: 8}))
    return WRITERS[kind](compressed, compressor.structure, target), compressed.module


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_the_batch_is_free_however_a_model_reads_its_size(kind: str, size: Callable[[Tensor], int]) -> None:
    content, module = written(kind, Sized(size))
    found = run(kind, content)
    for count in (1, 7, 50):
        with torch.no_grad():
            expected = module(PROBE[:count])
        assert torch.allclose(found(PROBE[:count]), expected, atol=1e-4)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_batch_that_cannot_be_free_is_refused_with_the_remedy(kind: str) -> None:
    with pytest.raises(CompressionError, match=r"batch size.*write sizes as x\.shape\[0\]"):
        written(kind, Stacked())


class Branching(nn.Module):
    """Decides by the values of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(48, 3), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x.flatten(1)) if x.mean() > 0.5 else self.other(x.flatten(1))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_model_that_branches_is_refused_in_words(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CompressionError, match=r"decides by the values of a tensor.*write torch\.where"):
        written(kind, Branching())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda x: x[:1].flatten(1)[:, :3], "gives .1, 3. for a batch of 3"),
        (lambda x: x.flatten(1)[:, :3] + len(x) - 1, "computes something else than the module"),
        (lambda x: x.view(2, -1)[:, :3], "gives"),
        (lambda x: x[2], "does not run with a batch of 1"),
    ],
)
def test_a_file_that_holds_for_one_size_alone_is_found(run: Any, message: str) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 3, bias=False))
    module[1].weight.data = torch.eye(48)[:3]
    with pytest.raises(CompressionError, match=message):
        check_batches(run, module, PROBE[:3], "file", exact=True)
