"""Layers of a candidate: the same over the network and at hand, and what searches of before can tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from pydantic import TypeAdapter

import leanfront
from leanfront.core.compressors import Configuration
from leanfront.core.search import Candidate, SearchRecord
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import NotFoundError, UsageError
from leanfront.http.schemas.layers import Layers
from leanfront.remote.client import Client
from leanfront.reports.layers import layers_json

API = "/api/v1"


@pytest.fixture(scope="module")
def database(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with two searches: `mine` chooses everything, `blind` predicts nothing."""
    url = f"sqlite:///{tmp_path_factory.mktemp('layers')}/own.db"
    choices: dict[str, Any] = {"sparsity": "unstructured", "activation_bits": "search", "trials": 6}
    leanfront.search(tiny, name="mine", database=url, **choices)
    leanfront.search(tiny, name="blind", database=url, sampler="random", **{**choices, "trials": 2})
    return url


@pytest.fixture
def stored(database: str) -> Iterator[FrontierStore]:
    with FrontierStore(database) as opened:
        yield opened


def test_the_same_over_the_network_and_at_hand(
    stored: FrontierStore, database: str, serving: Callable[..., Any]
) -> None:
    local = leanfront.open_search("mine", database=database)
    with serving(stored) as url, Client(url) as client, httpx2.Client(base_url=url) as plain:
        for remote in client.open_search("mine").frontier():
            assert remote.id is not None
            found = remote.layers()
            assert found == json.loads(json.dumps(local.candidate(remote.id).layers()))
            adapter = TypeAdapter(Layers)
            assert adapter.dump_python(adapter.validate_python(found), mode="json") == found
            assert (found["candidate"], found["search"]) == (remote.id, "mine")
        first = plain.get(f"{API}/candidates/{remote.id}/layers")
        again = {"If-None-Match": first.headers["etag"]}
        assert plain.get(f"{API}/candidates/{remote.id}/layers", headers=again).status_code == 304
        assert plain.get(f"{API}/candidates/99999/layers").status_code == 404


def test_layers_and_the_rest_are_the_whole(stored: FrontierStore) -> None:
    record = stored.search("mine")
    for candidate in stored.candidates("mine"):
        found = layers_json(candidate, record)
        assert [row["name"] for row in found["layers"]] == ["conv1", "conv2", "conv3", "linear"]
        for whole, rest, part in (("memory_bytes", "other_bytes", "bytes"), ("macs", "other_macs", "macs")):
            assert found[whole] == getattr(candidate, whole)
            assert found[rest] >= 0
            assert found[rest] + sum(row[part] for row in found["layers"]) == found[whole]
        # Beside the layers there are three norms, folded into two float32 a channel each.
        shapes = {row["name"]: row["outputs"] for row in found["layers"]}
        assert found["other_bytes"] == 8 * (shapes["conv1"] + shapes["conv2"] + shapes["conv3"])
        chosen = candidate.configuration
        for row in found["layers"]:
            assert row["weight_bits"] == chosen.weight_bits.get(row["name"])
            assert row["activation_bits"] == chosen.activation_bits.get(row["name"])
            assert row["sparsity"] == chosen.sparsity.get(row["name"])
            assert row["bytes"] < row["dense_bytes"]
            assert row["macs"] <= row["dense_macs"]
        assert {row["name"]: row["kept"] for row in found["groups"] if row["kept"] < row["units"]} == dict(
            chosen.channels
        )


def test_losses_are_those_the_search_was_told(stored: FrontierStore) -> None:
    record = stored.search("mine")
    told = record.settings["sensitivities"]
    # One that the search has not made: it has something of everything.
    configuration = Configuration(
        channels={"conv3": 4},
        weight_bits={"linear": 3},
        sparsity={"linear": 0.5},
        activation_bits={"linear": 4},
    )
    found = layers_json(Candidate("mine", 0, configuration, id=1), record)
    losses = {row["name"]: row["loss"] for row in found["layers"]}
    parts = [told["weights"]["linear"]["3"], told["sparsity"]["linear"]["0.5"]]
    parts.append(told["activations"]["linear"]["4"])
    assert losses == {"conv1": 0, "conv2": 0, "conv3": 0, "linear": pytest.approx(sum(parts))}
    assert min(parts) > 0
    groups = {row["name"]: row for row in found["groups"]}
    assert groups["conv3"]["loss"] == pytest.approx(told["channels"]["conv3"][3])
    assert groups["conv3"]["loss"] > 0
    assert all(row["loss"] == 0 for name, row in groups.items() if name != "conv3")
    assert (found["memory_bytes"], found["other_bytes"], found["other_macs"]) == (None, None, None)


def test_what_nobody_predicted_is_not_known(stored: FrontierStore) -> None:
    record = stored.search("blind")
    assert record.settings["sensitivities"] is None
    candidate = next(stored.candidates("blind"))
    found = layers_json(candidate, record)
    touched = set(candidate.configuration.weight_bits)
    assert {row["name"] for row in found["layers"] if row["loss"] is None} >= touched != set()
    assert {row["name"] for row in found["groups"] if row["loss"] is None} == set(
        candidate.configuration.channels
    )
    assert all(row["bytes"] for row in found["layers"])


def test_a_search_that_an_earlier_release_stored(file_client: httpx2.Client) -> None:
    found = file_client.get(f"{API}/candidates/3/layers").json()
    candidate = file_client.get(f"{API}/candidates/3").json()
    shapes = dict.fromkeys(("inputs", "dense_inputs", "outputs", "dense_outputs", "bytes", "dense_bytes"))
    assert found == {
        "candidate": 3,
        "search": "mine",
        "memory_bytes": candidate["memory_bytes"],
        "macs": candidate["macs"],
        "other_bytes": None,
        "other_macs": None,
        "layers": [
            {"name": "layer", "kind": "linear", "weight_bits": 4, "activation_bits": None, "sparsity": None}
            | {"macs": None, "dense_macs": 5, "loss": None, **shapes}
        ],
        "groups": [{"name": "group", "units": 10**6, "kept": 3, "members": ["layer (out)"], "loss": None}],
    }


def untraced(record: SearchRecord) -> dict[str, Any]:
    """The coverage report of a model whose operators cannot be traced."""
    layers = [{**row, "macs": 0} for row in record.coverage["layers"]]
    return {**record.coverage, "macs": 0, "layers": layers}


def test_multiply_adds_that_cannot_be_counted(stored: FrontierStore) -> None:
    record = stored.search("mine")
    candidate = next(stored.candidates("mine"))
    own = tuple(each for each in candidate.measurements if each.name != "macs")
    found = layers_json(replace(candidate, measurements=own), replace(record, coverage=untraced(record)))
    assert all(row["macs"] is row["dense_macs"] is None and row["bytes"] for row in found["layers"])
    assert (found["macs"], found["other_macs"]) == (None, None)
    assert found["other_bytes"] is not None


def test_refusals(fill: Any, file_store: FrontierStore, serving: Callable[..., Any]) -> None:
    fill.search(file_store, 3, coverage={})
    with serving(file_store) as url, httpx2.Client(base_url=url) as client:
        answer = client.get(f"{API}/candidates/1/layers")
        assert answer.status_code == 404
        assert "'mine' are not known" in answer.json()["detail"]
    with pytest.raises(NotFoundError, match="not known"):
        layers_json(file_store.candidate(1), file_store.search("mine"))
    loose = leanfront.Candidate("mine", 0, Configuration())
    with pytest.raises(UsageError, match="open_search"):
        loose.layers()
