"""The audit `capacity`, whole, on a small model."""

from __future__ import annotations

import pytest

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Configured
from leanfront.core.audit.levels import of_levels
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.targets import Target
from leanfront.reports.audit_text import tables_of
from tests.audit.documents import audited


def test_capacity_of_versions(tiny: Target, structure: Structure, answers: Answers) -> None:
    sparse = Configuration(sparsity=dict.fromkeys(structure.layers, 0.8), criterion="l1")
    float16 = next(each for each in of_levels(["quantisation"], structure) if each.name == "float16")
    versions = [Configured("sparse", sparse), float16]
    found = audited(
        Auditor(tiny, structure, versions, AuditOptions(), samples=64, answers=answers), "capacity"
    )
    own = {each["version"]: each for each in found["versions"]}
    dense = found["dense"]
    assert dense["nonzero_parameters"] == 1864 + 4 + 2 * 32  # weights, biases, norms in inference form
    assert own["sparse"]["nonzero_parameters"] < 0.3 * dense["nonzero_parameters"]
    assert own["float16"]["effective_dimension"]["value"] == pytest.approx(
        dense["effective_dimension"]["value"], rel=0.05
    )
    for each in (dense, *own.values()):
        assert 0 < each["effective_dimension"]["value"] < found["samples"] * 3  # the rank of 4 classes
    assert dense["effective_dimension"]["samples"] == found["samples"] == 64
    (table,) = tables_of("capacity", found)
    assert [row[0] for row in table.rows] == ["dense", *own]
    assert KINDS["capacity"].alone
