from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.compressors import Configuration
from leanfront.core.compressors.configuration import ACTIVATION_BITS, ACTIVATION_RANGES, WEIGHT_BITS
from leanfront.errors import ConfigurationError

NAMES = st.text(min_size=1, max_size=6)
SPARSITIES = st.one_of(
    st.just("2:4"), st.floats(0, 1, exclude_min=True, exclude_max=True, allow_nan=False), st.just(0)
)
FIELDS = st.fixed_dictionaries(
    {
        "channels": st.dictionaries(NAMES, st.integers(1, 4096), max_size=4),
        "weight_bits": st.dictionaries(NAMES, st.sampled_from([*WEIGHT_BITS, 32]), max_size=4),
        "activation_bits": st.dictionaries(NAMES, st.sampled_from([*ACTIVATION_BITS, 32]), max_size=4),
        "sparsity": st.dictionaries(NAMES, SPARSITIES, max_size=4),
        "criterion": st.sampled_from(["l1", "random", "lamp"]),
        "activation_range": st.sampled_from(ACTIVATION_RANGES),
        "seed": st.integers(0, 2**31),
    }
)


@given(FIELDS)
def test_round_trips(fields: dict[str, Any]) -> None:
    configuration = Configuration(**fields)
    for back in (
        Configuration.from_json(configuration.to_json()),
        Configuration.from_json(json.loads(json.dumps(configuration.to_json()))),
        Configuration.from_json(configuration.canonical_text()),
        pickle.loads(pickle.dumps(configuration)),
        replace(configuration),
        configuration.change(),
    ):
        assert back == configuration
        assert back.digest == configuration.digest
        assert hash(back) == hash(configuration)
        assert back.to_json() == configuration.to_json()


@given(FIELDS, st.randoms())
def test_order_does_not_matter(fields: dict[str, Any], random: Any) -> None:
    shuffled = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            items = list(value.items())
            random.shuffle(items)
            value = dict(items)
        shuffled[key] = value
    assert Configuration(**shuffled).digest == Configuration(**fields).digest


@given(FIELDS, FIELDS)
def test_equal_digests_mean_equal_content(first: dict[str, Any], second: dict[str, Any]) -> None:
    one, two = Configuration(**first), Configuration(**second)
    assert (one == two) is (one.to_json() == two.to_json())
    assert (one.digest == two.digest) is (one == two)


def test_what_cannot_matter_is_dropped() -> None:
    dense = Configuration()
    assert dense.is_dense
    for same in (
        Configuration(weight_bits={"a": 32}),
        Configuration(activation_bits={"a": 32}, activation_range="mse"),
        Configuration(sparsity={"a": 0, "b": 0.0}),
        Configuration(criterion="taylor", seed=4, activation_range="dynamic"),
    ):
        assert same == dense
        assert same.is_dense
    cut = Configuration(channels={"a": 3}, criterion="l2")
    assert cut == Configuration(channels={"a": 3.0}, criterion="l2", seed=9, activation_range="minmax")  # type: ignore[dict-item]
    assert cut != Configuration(channels={"a": 3}, criterion="l1")
    drawn = Configuration(channels={"a": 3}, criterion="random", seed=1)
    assert drawn != Configuration(channels={"a": 3}, criterion="random", seed=2)
    quantised = Configuration(activation_bits={"a": 8}, activation_range="mse")
    assert quantised != Configuration(activation_bits={"a": 8}, activation_range="minmax")
    assert quantised == Configuration(activation_bits={"a": 8}, activation_range="mse", criterion="lamp")


@pytest.mark.parametrize(
    "other",
    [
        {"channels": {"a": 2}},
        {"channels": {"b": 3}},
        {"weight_bits": {"a": 8}},
        {"weight_bits": {"a": 16}},
        {"activation_bits": {"a": 8}},
        {"sparsity": {"a": 0.5}},
        {"sparsity": {"a": "2:4"}},
    ],
)
def test_what_matters_changes_the_digest(other: dict[str, Any]) -> None:
    assert Configuration(**other) != Configuration(channels={"a": 3})
    assert Configuration(**other) != Configuration()
    assert Configuration(**other) != "text"


def test_a_dropped_rule_comes_back_as_the_default() -> None:
    assert Configuration().criterion == "none"
    for cut in (Configuration().change(channels={"a": 2}), replace(Configuration(), channels={"a": 2})):
        assert cut == Configuration(channels={"a": 2}, criterion="l1")
    ranged = Configuration().change(activation_bits={"a": 8})
    assert ranged.activation_range == "percentile"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": {"a": 0}}, "keeps 0 channels"),
        ({"channels": {"a": 1.5}}, r"kept channels of 'a' must be a whole number, not 1\.5"),
        ({"channels": {"a": True}}, "whole number"),
        ({"channels": {"a": math.nan}}, "whole number"),
        ({"channels": {"a": math.inf}}, "whole number"),
        ({"channels": {"a": "3"}}, "whole number"),
        ({"weight_bits": {"a": 1}}, "weight bits of 'a' must be one of 2, 3"),
        ({"weight_bits": {"a": 9}}, "not 9"),
        ({"activation_bits": {"a": 3}}, "activation bits of 'a'"),
        ({"activation_bits": {"a": 16}}, "not 16"),
        ({"sparsity": {"a": 1}}, r"sparsity of 'a' must lie in \(0, 1\)"),
        ({"sparsity": {"a": -0.1}}, "not -0.1"),
        ({"sparsity": {"a": math.nan}}, "nan"),
        ({"sparsity": {"a": "1:4"}}, "1:4"),
        ({"sparsity": {"a": True}}, "True"),
        ({"method": "magic"}, "unknown method 'magic'; known: rounding"),
        ({"activation_range": "guess"}, "unknown activation range 'guess'; known: minmax"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"criterion": 3}, "criterion must be a name"),
    ],
)
def test_bad_values_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Configuration(**fields)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "must be JSON"),
        ("[1]", "not list"),
        (3, "not int"),
        ({}, "version None is unknown; this release reads 1"),
        ({"version": 2}, "version 2"),
        ({"version": 1, "chanels": {}}, "unknown configuration keys: chanels; known: activation_bits"),
        ({"version": 1, "digest": ""}, "unknown configuration keys: digest"),
        ({"version": 1, "channels": [1]}, "'channels' must be an object"),
        ({"version": 1, "sparsity": None}, "'sparsity' must be an object"),
        ({"version": 1, "weight_bits": {"a": 11}}, "not 11"),
    ],
)
def test_bad_json_is_refused(data: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Configuration.from_json(data)


PINNED = Configuration(
    channels={"layer1.0.conv1": 12, "conv1": 8},
    weight_bits={"conv1": 4, "linear": 16},
    activation_bits={"linear": 8},
    sparsity={"conv1": 0.5, "linear": "2:4"},
    criterion="random",
    seed=3,
)
DIGEST = "3d0cc8eb5fc4309d25fe4e427bbf4cac6c6ee4e437b08afce0243dc77b91f8c0"


def test_the_digest_never_changes() -> None:
    assert PINNED.canonical_text() == (
        '{"activation_bits":{"linear":8},"activation_range":"percentile","channels":{"conv1":8,'
        '"layer1.0.conv1":12},"criterion":"random","method":"rounding","seed":3,"sparsity":{"conv1":0.5,'
        '"linear":"2:4"},"version":1,"weight_bits":{"conv1":4,"linear":16}}'
    )
    assert PINNED.digest == DIGEST


def test_another_process_agrees() -> None:
    program = (
        "import sys; from leanfront.core.compressors.configuration import Configuration; "
        "print(Configuration.from_json(sys.argv[1]).digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, PINNED.canonical_text()],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.strip() == PINNED.digest
