"""The audit `bounds`, whole, on a small model."""

from __future__ import annotations

import itertools

import pytest

from leanfront.core.audit import AuditOptions, Auditor, Configured
from leanfront.core.audit.answers import Answers
from leanfront.core.audit.artifacts import stored
from leanfront.core.audit.kinds import KINDS
from leanfront.core.compressors import Compressor, Configuration
from leanfront.core.compressors.artifact.packed_file import write
from leanfront.core.targets import Target
from leanfront.errors import UsageError
from leanfront.reports.audit_text import tables_of
from tests.audit.documents import audited


@pytest.fixture(scope="module")
def auditor(tiny: Target, tmp_path_factory: pytest.TempPathFactory) -> Auditor:
    compressor = Compressor(tiny, samples=64)
    structure = compressor.structure
    layers = structure.layers
    four = Configuration(weight_bits=dict.fromkeys(layers, 4), method="bank")
    content = write(compressor.materialise(four), structure, "tiny")
    versions = [
        Configured("candidate 1", four, 1, content),
        Configured("same", four),
        Configured("cut", Configuration(channels={"conv1": 5}, weight_bits={"conv3": 3})),
        Configured("sparse", Configuration(sparsity=dict.fromkeys(layers, 0.8), criterion="l1")),
    ]
    return Auditor(
        tiny,
        structure,
        versions,
        AuditOptions(levels=("quantisation",), samples=40),
        samples=64,
        answers=Answers(tmp_path_factory.mktemp("answers")),
    )


def test_bounds_of_versions_and_widths(auditor: Auditor) -> None:
    found = audited(auditor, "bounds")
    own = {each["version"]: each for each in found["versions"]}
    for each in (*own.values(), found["dense"]):
        assert each["bound_bytes"] <= each["coded_bytes"] <= each["memory_bytes"]
        said = each["description"]
        assert said["total_bits"] == pytest.approx(said["model_bits"] + said["data_bits"])
    # A file and what its configuration makes are one.
    for key in ("memory_bytes", "bound_bytes", "description"):
        first, second = own["candidate 1"][key], own["same"][key]
        assert first == second or first["model_bits"] == second["model_bits"]
    assert own["candidate 1"]["sqnr"] == pytest.approx(own["same"]["sqnr"], rel=1e-4)
    assert own["cut"]["cut_layers"] >= 2
    assert own["sparse"]["mismatch"]["why_none"] == "pruning is no zero-mean noise"
    pruned = own["sparse"]["layers"]["conv3"]["pruning"]
    assert pruned["share"] == pytest.approx(0.8, abs=0.01)
    assert 0 < pruned["distortion"] < 1
    assert own["fixed-int8"]["mismatch"]["bound"]["value"] > 0
    widths = found["uniform"]["rounding"]["widths"]
    assert [each["bits"] for each in widths] == [2, 3, 4, 5, 6, 7, 8]
    for before, after in itertools.pairwise(widths):
        assert after["sqnr"] > before["sqnr"] + 3
        assert after["description"]["model_bits"] > before["description"]["model_bits"]
    assert all(point["rate"]["bits"] > 0 for each in widths for point in each["layers"].values())
    assert found["uniform"]["bank"]["shortest"] in range(2, 9)
    assert found["training"]["split"] == "calibration"
    assert "there is no train split" in found["training"]["text"]
    mismatch = found["uniform_mismatch"]
    assert mismatch["samples"] == 40
    bounds = [each["bound"]["value"] for each in mismatch["widths"]]
    assert bounds == sorted(bounds, reverse=True)
    assert sum(each["measured_there"] for each in mismatch["widths"]) <= sum(bounds)
    tables = tables_of("bounds", found)
    assert [len(table.rows) for table in tables] == [7, 14, 5]
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)


def test_the_dense_model_alone(tiny: Target, auditor: Auditor) -> None:
    alone = Auditor(
        tiny, auditor.structure, (), AuditOptions(samples=20), samples=64, answers=auditor.answers
    )
    assert KINDS["bounds"].alone
    assert len(tables_of("bounds", audited(alone, "bounds"))) == 2


def test_what_no_configuration_makes_is_refused(tiny: Target, auditor: Auditor) -> None:
    options = AuditOptions(levels=("gradual",), samples=20)
    gradual = Auditor(tiny, auditor.structure, (), options, samples=64, answers=auditor.answers)
    own = gradual.versions[0]
    with pytest.raises(UsageError, match=r"gradual-0\.1 is not a configuration"):
        stored(gradual, own)
