"""The search space: its grid, its configurations, its corners."""

from __future__ import annotations

import random

import pytest

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.search.space import channel_grid, derive_space
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.targets import Target
from leanfront.errors import UsageError


@pytest.mark.parametrize("units", range(1, 70))
def test_channel_grid_ends_dense_and_starts_above_zero(units: int) -> None:
    grid = channel_grid(units)
    assert grid[-1] == units
    assert grid[0] >= 1
    assert list(grid) == sorted(set(grid))
    assert len(grid) <= 8
    if units >= 8:
        assert len(grid) == 8


def test_every_choice_is_a_configuration_and_all_differ(tiny: Target) -> None:
    space = derive_space(derive(tiny.model, tiny.example_input), SpaceOptions(bits=(2, 8)))
    draw = random.Random(0)
    seen = {}
    for _ in range(200):
        choices = {name: draw.randrange(len(p.values)) for name, p in space.parameters.items()}
        configuration = space.configuration(choices)
        assert space.structure.canonical(configuration) == configuration
        assert Configuration.from_json(configuration.to_json()) == configuration
        seen.setdefault(configuration.digest, choices)
        assert seen[configuration.digest] == choices


def test_corners(tiny: Target) -> None:
    structure = derive(tiny.model, tiny.example_input)
    space = derive_space(structure, SpaceOptions(bits=(3, 8, 32), sparsity="2:4", activation_bits="search"))
    dearest = space.configuration(space.dearest)
    assert not dearest.channels
    assert not dearest.sparsity
    assert not dearest.weight_bits
    cheapest = space.configuration(space.cheapest)
    assert set(cheapest.weight_bits.values()) == {3}
    assert set(cheapest.activation_bits.values()) == {4}
    sparse = space.configuration(
        {**space.dearest, **{n: 0 for n in space.cheapest if n.startswith("sparsity")}}
    )
    # conv1 reads one channel: of fewer than four inputs 2:4 zeroes nothing, which is the dense layer.
    assert sparse.sparsity == {"conv2": "2:4", "conv3": "2:4", "linear": "2:4"}
    assert set(cheapest.channels) == set(structure.groups)


def test_uniform_is_nearest(tiny: Target) -> None:
    space = derive_space(derive(tiny.model, tiny.example_input), SpaceOptions())
    configuration = space.configuration(space.uniform(0.5, 7))
    assert set(configuration.channels.values()) == {4, 8}
    assert set(configuration.weight_bits.values()) == {6}  # 6 and 8 are equally near: the cheaper one


def test_eight_bit_activations_everywhere(tiny: Target) -> None:
    space = derive_space(derive(tiny.model, tiny.example_input), SpaceOptions(activation_bits="8"))
    configuration = space.configuration(space.dearest)
    assert configuration.activation_bits == dict.fromkeys(space.structure.layers, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": (1,)}, "unknown bits 1; choose from 2"),
        ({"bits": ()}, "bits must be a sequence of 1 to 9 values, not of 0"),
        ({"sparsity": "3:4"}, "unknown sparsity '3:4'"),
        ({"activation_bits": "9"}, "unknown activation bits '9'"),
        ({"criterion": "magic"}, "unknown criterion 'magic'; choose from random, l1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpaceOptions(**options)  # type: ignore[arg-type]


def test_choices_out_of_range_are_refused(tiny: Target) -> None:
    space = derive_space(derive(tiny.model, tiny.example_input), SpaceOptions())
    name = next(iter(space.parameters))
    with pytest.raises(UsageError, match=name):
        space.configuration({**space.dearest, name: 99})
    with pytest.raises(UsageError, match=name):
        space.configuration({key: value for key, value in space.dearest.items() if key != name})


def test_options_round_trip() -> None:
    options = SpaceOptions(
        bits=(4, 2, 4),
        activation_bits="search",
        sparsity="2:4",
        criterion="taylor",
        method="bank",
        activation_range="mse",
        seed=3,
    )
    assert options.bits == (2, 4)
    assert SpaceOptions.read(options.to_json()) == options
