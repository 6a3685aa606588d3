"""Removal of units against least squares on explicit samples, and by brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from leanfront.core.compressors import ChannelGroup, Member, Part, Structure
from leanfront.core.compressors.pruning.removal import STEPS, Removal, removal
from leanfront.core.compressors.statistics import linear_algebra
from leanfront.core.compressors.statistics.moments import Blocks, LayerMoments

SAMPLES = 400


class Problem:
    """Consumers of one group with made-up correlated inputs."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.parts: dict[str, Part] = {}
        self.members: list[Member] = []
        self.weights: dict[str, Tensor] = {}
        self.moments: dict[str, LayerMoments] = {}
        self.inputs: dict[str, list[list[Tensor]]] = {}  # layer -> run -> group -> (samples, width)

    def add(
        self,
        part: Part,
        indices: list[tuple[int, ...]],
        seed: int,
        *,
        widest: int = 10**6,
        inputs: Tensor | None = None,
    ) -> None:
        """A consumer; inputs (groups, samples, width) are drawn unless given."""
        generator = torch.Generator().manual_seed(seed)
        blocks = Blocks.of(part, widest)
        width = blocks.inputs * part.kernel
        if inputs is None:
            mixing = torch.randn(part.groups, width, width, generator=generator)
            inputs = torch.randn(part.groups, SAMPLES, width, generator=generator) @ mixing
        runs = list(inputs.split(blocks.widths, dim=2))
        self.inputs[part.name] = [list(run) for run in runs]
        covariance = tuple(run.transpose(1, 2) @ run / SAMPLES for run in runs)
        fisher = torch.rand(part.outputs, generator=generator) + 0.1
        self.moments[part.name] = LayerMoments(
            blocks, covariance, tuple(torch.zeros(part.groups, w) for w in blocks.widths), SAMPLES, fisher
        )
        self.weights[part.name] = torch.randn(part.outputs, blocks.inputs, part.kernel, generator=generator)
        self.parts[part.name] = part
        self.members.append(Member(part.name, "in", tuple(indices)))

    @property
    def group(self) -> ChannelGroup:
        return ChannelGroup("made", self.units, tuple(self.members))

    def removal(self) -> Removal:
        structure = Structure(self.parts, {"made": self.group}, tuple(self.parts))
        found = removal(self.group, structure, self.weights, self.moments, dict.fromkeys(self.parts, True))
        assert found is not None
        return found

    def loss(self, gone: tuple[int, ...]) -> float:
        """Half the Fisher-weighted error once units are gone and all consumers refitted, by least squares."""
        total = 0.0
        for member in self.members:
            part, moments = self.parts[member.part], self.moments[member.part]
            blocks = moments.blocks
            lost = {channel for unit in gone for channel in member.indices[unit]}
            split = blocks.split(self.weights[member.part])
            first = 0
            for run, channels in enumerate(blocks.runs):
                for group in range(blocks.groups):
                    place = group * blocks.inputs + first
                    stays = [
                        c * part.kernel + k
                        for c in range(channels)
                        if place + c not in lost
                        for k in range(part.kernel)
                    ]
                    rows = self.inputs[member.part][run][group].double()
                    gram = self.moments[member.part].covariance[run][group]
                    level = linear_algebra.RIDGE * float(gram.diagonal().mean())
                    # The damping as samples of its own: one for each input.
                    extra = (SAMPLES * level) ** 0.5 * torch.eye(rows.shape[1], dtype=torch.float64)
                    rows = torch.cat([rows, extra])
                    wanted = rows @ split[run][group].double().T
                    solved = torch.linalg.lstsq(rows[:, stays], wanted).solution
                    errors = (wanted - rows[:, stays] @ solved).square().sum(0) / SAMPLES
                    fisher = moments.fisher.reshape(blocks.groups, -1)[group]
                    total += 0.5 * float((errors * fisher).sum())
                first += channels
        return total

    def check(self) -> None:
        """Every step's loss is that of least squares, and no other unit would have cost less."""
        found = self.removal()
        assert sorted(found.order) == list(range(self.units))
        for step in range(self.units - 1):
            gone = found.order[: step + 1]
            assert found.losses[step] == pytest.approx(self.loss(gone), rel=2e-3)
            others = [self.loss((*gone[:-1], unit)) for unit in found.order[step:]]
            assert found.losses[step] == pytest.approx(min(others), rel=2e-3)
        assert found.losses[-1] == float("inf")


def one_each(units: int) -> list[tuple[int, ...]]:
    return [(unit,) for unit in range(units)]


def test_a_convolution() -> None:
    problem = Problem(6)
    problem.add(Part("conv", "conv", 6, 5, kernel=3), one_each(6), 1)
    problem.check()


def test_a_linear_layer_behind_a_flattened_map() -> None:
    problem = Problem(4)
    problem.add(Part("linear", "linear", 12, 5), [(3 * u, 3 * u + 1, 3 * u + 2) for u in range(4)], 2)
    problem.check()


def test_a_consumer_that_reads_more_than_the_group() -> None:
    problem = Problem(3)
    problem.add(Part("conv", "conv", 7, 4, kernel=2), [(2,), (4,), (5,)], 3)
    problem.check()


def test_a_grouped_consumer() -> None:
    problem = Problem(3)
    problem.add(Part("grouped", "conv", 6, 4, groups=2, kernel=2), [(u, 3 + u) for u in range(3)], 4)
    problem.check()


def test_units_that_a_group_does_not_read_are_padded() -> None:
    problem = Problem(4)
    problem.add(Part("grouped", "conv", 8, 4, groups=2), [(0, 1, 4), (2, 5, 6), (3,), (7,)], 5)
    problem.check()


def test_several_consumers() -> None:
    problem = Problem(5)
    problem.add(Part("conv", "conv", 5, 4, kernel=2), one_each(5), 6)
    problem.add(Part("linear", "linear", 10, 3), [(u, 5 + u) for u in range(5)], 7)
    problem.add(Part("grouped", "conv", 10, 4, groups=2), [(u, 5 + u) for u in range(5)], 8)
    problem.check()


def test_a_consumer_in_runs() -> None:
    problem = Problem(7)
    problem.add(Part("wide", "conv", 7, 4, kernel=2), one_each(7), 9, widest=6)
    assert problem.moments["wide"].blocks.runs == (2, 2, 3)
    problem.check()


def test_the_copy_of_another_channel_goes_first() -> None:
    inputs = torch.randn(1, SAMPLES, 5, generator=torch.Generator().manual_seed(10))
    inputs[..., 3] = 2 * inputs[..., 1]
    problem = Problem(5)
    problem.add(Part("conv", "conv", 5, 6), one_each(5), 10, inputs=inputs)
    # Though its weights are the largest.
    problem.weights["conv"][:, [1, 3]] *= 2
    found = problem.removal()
    assert found.order[0] in (1, 3)
    assert found.losses[0] < 0.1 * found.losses[1]
    assert {1, 3} - {found.order[0]} <= set(found.order[3:]), "its twin then carries both"


def test_a_dead_channel_goes_before_all_others() -> None:
    inputs = torch.randn(1, SAMPLES, 5, generator=torch.Generator().manual_seed(11))
    inputs[..., 2] = 0
    problem = Problem(5)
    problem.add(Part("conv", "conv", 5, 6), one_each(5), 11, inputs=inputs)
    problem.weights["conv"][:, 2] *= 3
    assert problem.removal().order[0] == 2


def test_outputs_that_matter_more_weigh_more() -> None:
    inputs = torch.randn(1, SAMPLES, 2, generator=torch.Generator().manual_seed(12))
    orders = []
    for place in range(2):
        problem = Problem(2)
        problem.add(Part("conv", "conv", 2, 2), one_each(2), 12, inputs=inputs)
        problem.weights["conv"] = torch.eye(2)[:, :, None]
        problem.moments["conv"].fisher.copy_(torch.tensor([1.0, 100.0] if place else [100.0, 1.0]))
        orders.append(problem.removal().order)
    assert orders == [(1, 0), (0, 1)]


def test_scores_rank_units_by_when_they_go() -> None:
    found = Removal((2, 0, 1), (0.1, 0.5, float("inf")))
    assert found.scores.tolist() == [1, 2, 0]


def test_large_groups_go_several_at_a_time() -> None:
    units = 2 * STEPS + 5
    problem = Problem(units)
    problem.add(Part("conv", "conv", units, 3), one_each(units), 13)
    found = problem.removal()
    assert sorted(found.order) == list(range(units))
    assert all(a <= b for a, b in itertools.pairwise(found.losses))


def test_a_group_without_measured_consumers_has_no_order() -> None:
    problem = Problem(3)
    problem.add(Part("depthwise", "depthwise", 3, 3, groups=3, kernel=9), one_each(3), 14)
    structure = Structure(problem.parts, {"made": problem.group}, tuple(problem.parts))
    centred = {"depthwise": True}
    assert removal(problem.group, structure, problem.weights, problem.moments, centred) is None
    assert removal(problem.group, structure, problem.weights, {}, centred) is None
