"""Bounds of the search space: what they leave out, that they are stored, and that a search keeps to them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.search.context import SamplerContext
from leanfront.core.search.seeds import seeds, uniform_seeds
from leanfront.core.search.space import derive_space
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.targets import Target
from leanfront.errors import UsageError

BOUNDS = {"conv3": {"keep": 0.5, "bits": 4, "sparsity": 0.55}, "linear": {"bits": 32, "sparsity": 0.1}}


def test_choices_beyond_the_bounds_are_left_out(tiny: Target) -> None:
    structure = derive(tiny.model, tiny.example_input)
    free = derive_space(structure, SpaceOptions(sparsity="unstructured")).parameters
    bounded = derive_space(structure, SpaceOptions(sparsity="unstructured", bounds=BOUNDS)).parameters
    assert bounded["channels/conv3"].values == (8, 10, 12, 14, 16)
    assert bounded["weight/conv3"].values == (4, 5, 6, 8)
    assert bounded["sparsity/conv3"].values == (0.5, 0.4, 0.25, 0.0)
    assert bounded["weight/linear"].values == (8,)  # the dearest stays
    assert "sparsity/linear" not in bounded  # nothing is left to choose
    assert {n: p for n, p in bounded.items() if "conv1" in n} == {
        n: p for n, p in free.items() if "conv1" in n
    }


def test_the_pattern_counts_as_half(tiny: Target) -> None:
    structure = derive(tiny.model, tiny.example_input)
    for share, values in ((0.5, ("2:4", 0.0)), (0.49, None)):
        options = SpaceOptions(sparsity="2:4", bounds={"conv2": {"sparsity": share}})
        parameter = derive_space(structure, options).parameters.get("sparsity/conv2")
        assert (None if parameter is None else parameter.values) == values


def test_bounds_round_trip_and_have_one_spelling() -> None:
    options = SpaceOptions(bounds=BOUNDS)
    assert SpaceOptions.read(json.loads(json.dumps(options.to_json()))) == options
    other = SpaceOptions(bounds={"linear": {"sparsity": 0.1, "bits": 32}, "a": {}, "conv3": BOUNDS["conv3"]})
    assert json.dumps(other.to_json()) == json.dumps(options.to_json())
    assert SpaceOptions().bounds == {}
    assert hash(options) == hash(SpaceOptions())


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([], "bounds map layers"),
        ({"conv1": 4}, "bounds map layers"),
        ({"conv1": {"width": 4}}, "unknown bound 'width' of 'conv1'; known: bits, sparsity, keep"),
        ({"conv1": {"bits": 33}}, "bound bits of 'conv1' lies in 0 to 32, not 33"),
        ({"conv1": {"keep": float("nan")}}, "not nan"),
        ({"conv1": {"keep": True}}, "not True"),
    ],
)
def test_bad_bounds_are_refused(bounds: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SpaceOptions(bounds=bounds)  # type: ignore[arg-type]


@pytest.mark.parametrize("bounds", [{"other": {"bits": 4}}, {"conv2": {"keep": 0.5}}])
def test_bounds_of_another_model_are_refused(tiny: Target, bounds: dict[str, dict[str, float]]) -> None:
    structure = derive(tiny.model, tiny.example_input)
    subject = next(iter(bounds))
    assert subject not in structure.groups
    with pytest.raises(UsageError, match=f"'{subject}'"):
        derive_space(structure, SpaceOptions(bounds=bounds))


def test_seeds_keep_to_them(make_context: Callable[..., SamplerContext]) -> None:
    context = make_context(options=SpaceOptions(sparsity="unstructured", bounds=BOUNDS))
    found = [*seeds(context, 6), *uniform_seeds(context.space)]
    assert len(found) > 6
    for choices in found:
        configuration = context.space.configuration(choices)
        assert configuration.channels.get("conv3", 16) >= 8
        assert configuration.weight_bits["conv3"] >= 4
        assert float(configuration.sparsity.get("conv3", 0.0)) <= 0.55
        assert "linear" not in configuration.sparsity
