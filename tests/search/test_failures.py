"""Groups that break every candidate are found and left alone; a search without any candidate says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import leanfront
from tests.leanfront.commands import run


class Wide(nn.Module):
    """Two hidden layers; some widths of the first or the second break it on batches that no proof has."""

    def __init__(self, broken: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.broken = broken

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        self._check("first", x)
        x = torch.relu(self.second(x))
        self._check("second", x)
        return self.head(x)

    def _check(self, name: str, x: Tensor) -> None:
        if name in self.broken and len(x) > 32 and x.shape[1] != 16:
            raise RuntimeError(f"{name} is not 16 wide")


def target(broken: str) -> leanfront.Target:
    x = torch.randn(160, 6, generator=torch.Generator().manual_seed(0))
    return leanfront.Target(
        model=Wide(broken), example_input=x[:1], validation=(x[:128], x[:128].argmax(1) % 3),
        calibration=(x[128:], x[128:].argmax(1) % 3),
    )  # fmt: skip


@pytest.mark.parametrize(("broken", "alone"), [("first", {"first"}), ("first second", {"first", "second"})])
def test_a_group_that_breaks_all_candidates_is_left_alone_and_named(
    broken: str, alone: set[str], tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/s.db"
    result = leanfront.search(target(broken), name="s", database=database, trials=10, false_elimination=0.0)
    found = list(result.store.candidates("s", failed=True))
    failed = [each for each in found if each.state == "failed"]
    assert len(failed) == 3
    late = [each for each in found if each.number > max(each.number for each in failed)]
    assert late
    assert not any(alone & set(each.configuration.channels) for each in late)
    assert any(each.configuration.channels for each in late) or broken == "first second"
    assert result.record.state == "done"
    assert result.record.message is not None
    assert all(f"'{name}'" in result.record.message for name in alone)
    assert len(result.frontier()) > 0
    # A later run knows them from the stored candidates.
    again = leanfront.resume("s", target=target(broken), database=database, trials=14)
    late = [each for each in again.store.candidates("s", failed=True) if each.number >= 10]
    assert all(each.state != "failed" for each in late)


FILE = """
import torch, leanfront
from torch import nn

class Brittle(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("whole", self.hidden.weight.detach().clone())

    def forward(self, x):
        if not torch.equal(self.hidden.weight, self.whole):
            raise ValueError("somebody changed my weights")
        return self.head(torch.relu(self.hidden(x)))

def brittle():
    x = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    return leanfront.Target(model=Brittle(), example_input=x[:1], validation=(x, x.argmax(1) % 3))
"""


def test_a_search_without_any_candidate_gives_the_reason_and_fails(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(FILE)
    place = f"{tmp_path}/file.py:brittle"
    done = run("search", place, "--trials", "4", "--name", "s", "--database", f"sqlite:///{tmp_path}/s.db")
    assert done.exit_code == 1
    assert "none of the 4 candidates could be evaluated" in done.output
    assert "somebody changed my weights" in done.output
