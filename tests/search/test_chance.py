"""A dense model that is no better than guessing is said loudly."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from leanfront.core.search import SearchOptions, start
from leanfront.core.search.chance import LOOKED_AT, chance_remark, largest_share, quick_look
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.reports.text import frontier_text


class Counted(nn.Module):
    """Knows the classes by the largest input, in some order, and counts the samples that it saw."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4, bias=False)
        self.linear.weight.data.copy_(torch.eye(4)[order])
        self.seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.linear(x)


def made(order: list[int], count: int = 2000, weights: tuple[int, ...] = (1, 1, 1, 1)) -> Target:
    # Sorted by class, as folders of images are.
    labels = torch.arange(4).repeat_interleave(torch.tensor(weights)).repeat_interleave(count // sum(weights))
    inputs = torch.eye(4)[labels] + 0.1 * torch.randn(
        len(labels), 4, generator=torch.Generator().manual_seed(0)
    )
    other = inputs + 0.01
    return Target(
        model=Counted(order),
        example_input=inputs[:1],
        validation=(inputs, labels),
        calibration=(other[:40], labels[:40]),
    )


@pytest.mark.parametrize(("order", "accuracy"), [([1, 2, 3, 0], "0.0000"), ([3, 1, 0, 2], "0.2[0-9]+")])
def test_another_order_of_classes_is_said(order: list[int], accuracy: str) -> None:
    remark = quick_look(made(order))
    assert remark is not None
    assert re.match(
        rf"WARNING: the dense model's accuracy on {LOOKED_AT} samples of validation is {accuracy}, ", remark
    )
    for cause in ("another order", "normalised", "another split", "weights"):
        assert cause in remark


def test_a_model_that_always_says_the_most_frequent_class_is_no_better() -> None:
    target = made([0, 0, 0, 0], weights=(7, 1, 1, 1))
    assert largest_share(target.validation) == 0.7
    assert "0.7" in str(quick_look(target))


def test_a_sound_model_is_known_after_one_batch() -> None:
    target = made([0, 1, 2, 3])
    target.model.seen.clear()
    assert quick_look(target) is None
    assert target.model.seen == [64]


@pytest.mark.parametrize(("accuracy", "said"), [(0.0, True), (0.5, True), (0.501, False), (1.0, False)])
def test_the_share_of_the_largest_class_is_the_measure(accuracy: float, said: bool) -> None:
    split = made([0, 1, 2, 3], 16, weights=(3, 1, 1, 1)).validation
    assert (chance_remark(split, accuracy) is not None) == said


def test_one_class_alone_is_no_reproach_for_a_perfect_model() -> None:
    split = made([0, 1, 2, 3]).validation.subset(range(10))
    assert largest_share(split) == 1.0
    assert chance_remark(split, 1.0) is None
    assert chance_remark(split, 0.9) is not None


@pytest.mark.parametrize(("order", "said"), [([1, 2, 3, 0], True), ([0, 1, 2, 3], False)])
def test_a_search_says_it_before_its_trials_and_keeps_it(
    order: list[int], said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FrontierStore(f"sqlite:///{tmp_path / 'a.db'}")
    with caplog.at_level(logging.WARNING):
        record = start(made(order, 200), store, "a", SearchOptions(trials=1, sampler="random"))
    assert ("no better than guessing" in caplog.text) == said
    assert ("no better than guessing" in frontier_text(store.search("a"), [])) == said
    assert record.settings["digests"] == made(order, 200).digests
