"""Searches that can find next to nothing are refused before they start."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import leanfront
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import UsageError


class Bag(nn.Module):
    """A large table in front of a small layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(2000, 8)
        self.linear = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.words(tokens))


class Table(nn.Module):
    """A large parameter that belongs to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(2000, 8))
        self.linear = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(self.rows[tokens].mean(1))


def target(model: nn.Module) -> Target:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 2000, (200, 6), generator=generator)
    labels = torch.randint(0, 3, (200,), generator=generator)
    return Target(model=model.eval(), example_input=tokens[:1], validation=(tokens, labels))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Bag, r"at most 0\.\d% of its bytes.*'words' \(99\.\d%: .*--anyway"),
        (Table, r"at most 0\.\d% of its bytes.*--anyway"),
    ],
)
def test_next_to_nothing(make: type[nn.Module], words: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    url = f"sqlite:///{tmp_path}/a.db"
    refused = target(make())
    with pytest.raises(UsageError, match=words):
        leanfront.search(refused, trials=3, objectives=("accuracy", "memory"), database=url)
    with FrontierStore(url) as store:
        assert store.searches() == []
    found = leanfront.search(refused, trials=3, objectives=("accuracy", "memory"), anyway=True, database=url)
    assert found.record.trials == 3


def test_bounds_that_leave_next_to_nothing(tiny: Target, tmp_path: Path) -> None:
    """What the space of this search offers counts, not what the model would allow."""
    url = f"sqlite:///{tmp_path}/a.db"
    structure = derive(tiny.model, tiny.example_input)
    bounds = {name: {"keep": 1.0} for name in structure.groups}
    for name in structure.layers:
        bounds[name] = {**bounds.get(name, {}), "bits": 32.0}
    with pytest.raises(UsageError, match=r"at most 0\.0% of its bytes and 0\.0% of its multiply-adds"):
        leanfront.search(tiny, trials=3, bits=(2, 32), bounds=bounds, database=url)
