"""Settings of a recovery, and configurations that name them."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core.compressors import Compressor, Configuration, Recovery, compressed_of
from leanfront.core.compressors.artifact.layout import layout
from leanfront.core.compressors.artifact.packed_file import read, write
from leanfront.core.compressors.recovery_settings import RECIPE
from leanfront.errors import CompressionError, ConfigurationError

PLAIN = Configuration(channels={"conv1": 4}, weight_bits={"conv2": 3}, method="sequential")


def shares(**limits: Any) -> st.SearchStrategy[float]:
    return st.floats(min_value=0, allow_nan=False, **limits)


SETTINGS = st.builds(
    Recovery,
    epochs=st.integers(1, 10**5),
    seed=st.integers(0, 2**31 - 1),
    optimiser=st.sampled_from(["adamw", "sgd", "own"]),
    learning_rate=st.none() | shares(max_value=100, exclude_min=True),
    weight_decay=shares(max_value=100),
    batch_size=st.integers(2, 4096),
    temperature=st.floats(0.01, 1000),
    distillation=shares(max_value=1),
    ema=shares(max_value=1, exclude_max=True),
    patience=st.none() | st.integers(1, 100),
    warmup=shares(max_value=1, exclude_max=True),
    steps=st.none() | st.integers(1, 10**6),
)


@given(SETTINGS)
def test_there_and_back(settings: Recovery) -> None:
    said = json.loads(json.dumps(settings.to_json()))
    assert Recovery.from_json(said) == settings
    assert list(said) == sorted(said)
    different = {each.name for each in fields(settings) if getattr(settings, each.name) != each.default}
    assert set(said) == {"epochs", "recipe", "seed"} | different
    configuration = PLAIN.change(recovery=[said, Recovery().to_json()])
    assert Configuration.from_json(configuration.canonical_text()) == configuration


def test_numbers_are_written_one_way() -> None:
    assert Recovery(epochs=3.0, learning_rate=1, seed=0.0) == Recovery(epochs=3, learning_rate=1.0)  # type: ignore[arg-type]
    one, other = ({"recipe": RECIPE, "epochs": epochs, "ema": 0} for epochs in (4, 4.0))
    assert PLAIN.change(recovery=[one]).digest == PLAIN.change(recovery=[other]).digest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("epochs", value) for value in (0, -1, 1.5, True, "3", None, 2**40)),
        *(("seed", value) for value in (-1, 0.5, None)),
        *(("batch_size", value) for value in (0, 1)),
        *(("learning_rate", value) for value in (0, -1e-3, math.nan, math.inf, 1000, "fast", True)),
        *(("weight_decay", value) for value in (-1, math.nan, None)),
        *(("temperature", value) for value in (0, -1, math.inf)),
        *(("distillation", value) for value in (-0.1, 1.1, math.nan)),
        *(("ema", value) for value in (-0.1, 1, 2)),
        *(("warmup", value) for value in (-0.1, 1, 2)),
        *(("patience", value) for value in (0, -1, 0.5)),
        *(("steps", value) for value in (0, -1, 10**400)),
        *(("optimiser", value) for value in ("", None, 3, "x" * 65)),
    ],
)
def test_bad_values_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"recovery: {field}"):
        Recovery(**{field: value})


@pytest.mark.parametrize(
    "data", [None, [], "epochs", {}, {"recipe": 2}, {"recipe": True}, {"recipe": 1, "epoch": 3}]
)
def test_what_is_no_recovery_is_refused(data: Any) -> None:
    with pytest.raises(ConfigurationError, match="recovery"):
        Recovery.from_json(data)
    with pytest.raises(ConfigurationError, match="recovery"):
        PLAIN.change(recovery=[data])


@pytest.mark.parametrize("recovery", [None, {}, "x", 3, {"recipe": 1}])
def test_a_configuration_has_a_list_of_them(recovery: Any) -> None:
    with pytest.raises(ConfigurationError, match="list of trainings"):
        Configuration.from_json({**PLAIN.to_json(), "recovery": recovery})


def test_a_trained_configuration_is_another() -> None:
    trained = PLAIN.change(recovery=[Recovery().to_json()])
    assert "recovery" not in PLAIN.to_json()
    # The digest of a release without recovery.
    assert PLAIN.digest == "70fe92dc75f5627c56be819bbfdd616f0f92c7177afa7a9f9f3db3d030b8909e"
    twice = trained.change(recovery=[*trained.recovery, Recovery().to_json()])
    seeded = trained.change(recovery=[replace(Recovery(), seed=1).to_json()])
    assert len({PLAIN, trained, twice, seeded}) == 4
    assert trained.change(recovery=()) == PLAIN
    assert trained.to_json()["recovery"] == [{"epochs": 3, "recipe": RECIPE, "seed": 0}]


def test_its_weights_are_in_its_artifact(nets: Any, make_target: Any) -> None:
    compressor = Compressor(make_target(nets["chain"].build(), 24))
    structure, model = compressor.structure, compressor.target.model
    plain = structure.canonical(PLAIN)
    trained = plain.change(recovery=[Recovery().to_json()])
    assert structure.canonical(trained) == trained
    with pytest.raises(CompressionError, match=r"includes a recovery.* they are in its artifact"):
        compressor.materialise(trained)
    small, large = (layout(structure, each, "net") for each in (plain, trained))
    assert small.entries == large.entries
    assert 0 < large.file_bytes - small.file_bytes < 80
    made = replace(compressor.materialise(plain), configuration=trained)
    content = write(made, structure, "net")
    assert len(content) == large.file_bytes
    again = compressed_of(read(content), structure, model)
    assert again.configuration == trained
    assert write(again, structure, "net") == content
