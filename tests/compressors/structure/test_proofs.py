"""Groups that seem right at one cut, or with the model's own weights, are refuted at others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.compressors.structure.proofs import largest
from leanfront.core.compressors.structure.structure import ChannelGroup

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


class HeadsByView(nn.Module):
    """Heads counted by `-1` in a view: a cut of whole heads' width runs, any other does not."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(24, 32), nn.Linear(24, 32), nn.Linear(24, 32)
        self.out, self.head = nn.Linear(32, 24), nn.Linear(24, 3)
        for layer in (self.q, self.k):
            layer.weight.data.mul_(1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2).reshape(len(x), 8, 24)
        q, k, v = (layer(x).view(*x.shape[:-1], -1, 8).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head((x + self.out(y)).mean(1))


class Halves(nn.Module):
    """The first half of the channels gates the second: cuts of pairs run, and pairs change with the cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x.unflatten(1, (2, -1))
        return self.linear((x[:, 0] * x[:, 1].sigmoid()).mean((2, 3)))


class Blocks(nn.Module):
    """Channels are averaged in blocks of four: only whole blocks can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.second, self.linear = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 3), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).unflatten(1, (-1, 4))
        x = (x - x.mean(2, keepdim=True)).flatten(1, 2)
        return self.linear(torch.relu(self.second(x)).mean((2, 3)))


class Hidden(nn.Module):
    """The model's own weights hide that the order of channels matters: the second half of them is silent."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.linear = nn.Linear(192, 16), nn.Linear(16, 8), nn.Linear(8, 4)
        self.second.weight.data[:, :] = self.second.weight.data.mean(1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x.flatten(1))).flip(1)
        return self.linear(torch.relu(self.second(x)))


REFUSED = [(HeadsByView, {"q", "k", "v"}), (Halves, {"conv"}), (Blocks, {"conv"}), (Hidden, {"first"})]


@pytest.mark.parametrize(("kind", "names"), REFUSED)
def test_a_group_that_holds_at_some_cuts_only_is_refused(kind: type[nn.Module], names: set[str]) -> None:
    torch.manual_seed(0)
    structure = derive(kind().eval(), EXAMPLE)
    assert not names & set(structure.groups)
    assert any(name in names and "group" in what for name, what, _ in structure.exclusions)


def test_a_wider_format_decides_where_rounding_hides_a_right_group() -> None:
    """Chaotic layers amplify the rounding of float32 far beyond the tolerance."""

    class Chaotic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.inner = nn.Linear(192, 24), nn.Linear(24, 24)
            self.mix = nn.Parameter(torch.randn(24, 24))
            self.leave = nn.Linear(24, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.inner(torch.relu(self.enter(x.flatten(1))))
            for _ in range(4):
                x = torch.sin(4 * x @ self.mix)
            return self.leave(x)

    torch.manual_seed(0)
    assert "enter" in derive(Chaotic().eval(), EXAMPLE).groups


def test_the_groups_that_are_right_together_are_found_by_halving() -> None:
    groups = [ChannelGroup(name, 2, ()) for name in "abcdefgh"]

    def right(chosen: object) -> bool:
        names = {group.name for group in chosen}  # type: ignore[attr-defined]
        return "c" not in names and not {"a", "h"} <= names

    assert [group.name for group in largest([], groups, right)] == list("abdefg")


class Categories(nn.Module):
    """A table whose columns are read as categories, or tokens packed as floats: other values are errors."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden, self.linear = nn.Embedding(5, 6), nn.Linear(24, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.relu(self.hidden(self.table(x.long()).flatten(1))))


class Mixed(Categories):
    """Two columns are categories, two are numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(14, 12)

    def forward(self, x: Tensor) -> Tensor:
        own = self.table(x[:, :2].long()).flatten(1)
        return self.linear(torch.relu(self.hidden(torch.cat([own, x[:, 2:]], 1))))


@pytest.mark.parametrize("kind", [Categories, Mixed])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_probes_are_real_samples(kind: type[nn.Module], given: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 5, (16, 4)).to(dtype)
    structure = derive(kind().eval(), x[:1], samples=x if given else None)
    assert set(structure.groups) == {"hidden"}
