"""The whole audit of limits, on a small network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import leanfront
from leanfront.actions.space_bounds import read_bounds
from leanfront.cli import main
from leanfront.core import audit
from leanfront.core.audit import Answers, AuditOptions, Auditor, Configured, bounds_of, kinds_of
from leanfront.core.audit.kinds.limits.tables import tables
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.search import SearchOptions
from leanfront.core.search.space import derive_space
from leanfront.core.search.space_options import SpaceOptions
from leanfront.core.storage import AuditRecord, FrontierStore
from leanfront.core.targets import Target
from leanfront.core.targets.registry import Registry
from leanfront.errors import NotFoundError, UsageError
from tests.leanfront.served import served

UNITS = {"conv1": 8, "conv3": 16}
OPTIONS = AuditOptions(samples=60, method="rounding", criterion="l1", corruptions=("fog", "contrast"))


def _document(target: Target, structure: Structure, answers: Answers, versions: Any = ()) -> dict[str, Any]:
    auditor = Auditor(target, structure, versions, OPTIONS, samples=64, answers=answers)
    ((record,),) = audit.run(auditor, kinds_of(["limits"]), "a search", "0")
    assert record.candidate is None
    return dict(json.loads(json.dumps(record.document, allow_nan=False)))


@pytest.fixture(scope="module")
def found(pictured: Target, structure: Structure, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    answers = Answers(tmp_path_factory.mktemp("limits"))
    candidates = [
        Configured(
            f"candidate {bits}", Configuration(weight_bits=dict.fromkeys(structure.layers, bits)), bits
        )
        for bits in (2, 3, 4, 5, 6, 8)
    ]
    return _document(pictured, structure, answers, candidates)


def test_every_axis_has_thresholds_on_every_distribution(found: dict[str, Any]) -> None:
    assert set(found["axes"]) == {"sparsity", "channels", "bits", "frontier"}
    assert found["corruptions"] == ["fog", "contrast"]
    for name, axis in found["axes"].items():
        count = len(axis["ratios"])
        assert axis["ratios"][0] == 0
        assert axis["versions"][0] == "dense"
        assert not axis["failed"]
        assert set(axis["shift"]["corruptions"]) == {"fog", "contrast"}
        for limits in (axis["limits"], axis["shift"]["clean"], *axis["shift"]["corruptions"].values()):
            assert len(limits["accuracies"]) == len(limits["deviations"]) == count
            assert limits["verdict"] in ("abrupt", "gradual", "not reached")
            low, high = limits["potential"]["low"], limits["potential"]["high"]
            assert 0 <= low <= high <= axis["ratios"][-1]
        assert set(axis["indicators"]) == {
            "accuracy",
            "generalisation_gap",
            "ece",
            "agreement",
            "flip_rate",
        }
        assert axis["indicators"]["agreement"]["values"][0] == pytest.approx(1)
        assert axis["indicators"]["accuracy"]["values"] == pytest.approx(axis["limits"]["accuracies"])
        assert axis["shift"]["mean_excess_error"][0] == 0
        assert (
            name != "frontier" or axis["limits"]["accuracies"] == sorted(axis["limits"]["accuracies"])[::-1]
        )


def test_magnitude_pruning_breaks_the_network(found: dict[str, Any]) -> None:
    limits = found["axes"]["sparsity"]["limits"]
    assert limits["verdict"] != "not reached"
    assert limits["accuracies"][0] - limits["accuracies"][-1] > 0.2
    assert limits["cliff"] is not None


def test_layers_give_bounds_that_the_space_takes(found: dict[str, Any], structure: Structure) -> None:
    rows = found["layers"]["limits"]
    assert {row["subject"] for row in rows} == {*structure.layers, *structure.groups}
    bounds = bounds_of(found, accuracy_drop=0.05)
    assert bounds
    space = derive_space(structure, SpaceOptions(sparsity="unstructured", bounds=bounds))
    free = derive_space(structure, SpaceOptions(sparsity="unstructured"))
    assert space.size < free.size
    assert bounds_of(found, accuracy_drop=0.9) == {}


def test_tables_and_files(found: dict[str, Any], tmp_path: Path) -> None:
    text = "\n".join(each.text() for each in tables(found))
    for word in ("sparsity", "frontier", "fog", "conv3", "dense accuracy"):
        assert word in text
    store = FrontierStore(f"sqlite:///{tmp_path}/a.db")
    wanted = bounds_of(found, accuracy_drop=0.05)
    file = tmp_path / "limits.json"
    audits = {"search": "a", "audits": [{"kind": "classes"}, {"kind": "limits", "document": found}]}
    for content in (audits, audits["audits"][1], found):
        file.write_text(json.dumps(content))
        assert read_bounds(store, str(file), 0.05) == wanted
    for broken in ("{", "[]", '{"audits": []}', '{"a": 1}'):
        file.write_text(broken)
        with pytest.raises(UsageError):
            read_bounds(store, str(file), 0.05)
    with pytest.raises(UsageError, match="cannot read limits"):
        read_bounds(store, str(tmp_path / "none.json"), 0.05)
    with pytest.raises(NotFoundError):
        read_bounds(store, "no-search", 0.05)


def test_a_search_keeps_to_the_limits_of_a_file(
    found: dict[str, Any], tiny_file: Path, tmp_path: Path
) -> None:
    file, url = tmp_path / "limits.json", f"sqlite:///{tmp_path}/b.db"
    file.write_text(json.dumps(found))
    arguments = ["search", f"{tiny_file}:target", "--name", "b", "--trials", "3", "--database", url]
    arguments += ["--sampler", "random", "--method", "rounding", "--limits", str(file), "--limits-drop"]
    assert CliRunner().invoke(main, [*arguments, "1.5"]).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "0.05"]).exit_code == 0
    store, bounds = FrontierStore(url), bounds_of(found, accuracy_drop=0.05)
    assert store.search("b").options.bounds == bounds
    # By the name of a search whose audit is stored: in Python and over HTTP, too.
    store.add_audits([AuditRecord("b", "limits", found, None, {}, "1.0")])
    options = SearchOptions(trials=3, sampler="random", limits="b", limits_drop=0.05)
    again = leanfront.search(str(tiny_file) + ":target", name="c", database=url, **options.changed())
    assert again.record.options.bounds == bounds
    with (
        served(store, Registry.of([f"tiny={tiny_file}:target"])) as address,
        leanfront.Client(address) as client,
    ):
        client.search("tiny", name="d", limits="b", limits_drop=0.05)
        assert store.search("d").options.bounds == bounds
        for wrong, words in ((str(file), "names a file"), ("nobody", "nobody")):
            with pytest.raises(UsageError, match=words):
                client.search("tiny", limits=wrong)
        assert len(store.searches()) == 3
    for candidate in store.candidates("b"):
        for name, bound in bounds.items():
            kept = candidate.configuration.channels.get(name)
            assert kept is None or kept >= bound.get("keep", 0) * UNITS[name]
            assert candidate.configuration.weight_bits.get(name, 32) >= bound.get("bits", 0)


def test_without_images_there_is_no_shift(tiny: Target, structure: Structure, answers: Answers) -> None:
    found = _document(tiny, structure, answers)
    assert "does not say how its inputs are made of pixels" in found["no_shift"]
    assert set(found["axes"]) == {"sparsity", "channels", "bits"}
    for axis in found["axes"].values():
        assert axis["shift"] is None
        assert "flip_rate" not in axis["indicators"]
    assert tables(found)[0].text()
