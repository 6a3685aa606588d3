from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from leanfront.core.cost_models import Profile, analyse
from leanfront.core.cost_models.profile import operations


class Nested(nn.Module):
    """A container that runs an operator of its own kind beside its children's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.inner(x), self.weight)


def test_counts_stand_at_the_innermost_module() -> None:
    analysis = analyse(Nested().eval(), torch.randn(1, 6))
    assert operations(analysis) == {
        ("inner.0", "linear"): 30,
        ("inner.2", "linear"): 20,
        ("", "linear"): 12,
    }


def test_operations_add_up(family: Any) -> None:
    profile: Profile = family.profile
    assert sum(profile.operations.values()) == profile.analysis.total()
    assert all(count > 0 for count in profile.operations.values())


def test_probes_cut_a_quarter_alone(families: Any) -> None:
    profile: Profile = families("resnext").profile
    assert set(profile.probes) == set(profile.structure.groups)
    for name, probe in profile.probes.items():
        assert probe.removed == max(1, profile.structure.groups[name].units // 4)
        assert len(probe.allocations.sizes) == len(profile.allocations.sizes)
        assert sum(probe.allocations.sizes) < sum(profile.allocations.sizes)
    joint = profile.joint
    assert joint.macs < profile.analysis.total()
    assert joint.configuration.channels == {
        name: group.units - max(1, group.units // 4) for name, group in profile.structure.groups.items()
    }


def test_a_profile_is_of_one_input(families: Any) -> None:
    profile: Profile = families("vit").profile
    assert profile.leaf_inputs["conv_proj"] == 3 * 32 * 32
    assert profile.unsupported == {}
