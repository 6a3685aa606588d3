from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from leanfront.core.compressors.coverage_report import coverage
from leanfront.core.compressors.structure.derivation import derive


def test_shares_by_hand(nets: Any) -> None:
    structure = derive(nets["tied"].build(), torch.randn(1, 3, 8, 8))
    macs = {"enter": 1536, "hidden": 48, "linear": 24}
    report = coverage(structure, macs, 1736, {"aten::fft": 2})
    total = (192 * 8 + 8) + (64 + 8) + 8 + (48 + 6) + (24 + 4)  # the tied weight once
    assert report.parameters == total
    assert report.memory_bytes == 4 * total
    assert report.quantisable_bytes == pytest.approx((192 * 8 + 48 + 24) / total)
    assert report.prunable_bytes == pytest.approx((48 + 24) / total)
    assert report.quantisable_macs == pytest.approx(1608 / 1736)
    assert report.prunable_macs == pytest.approx(72 / 1736)
    rows = {row["name"]: row for row in report.layers}
    assert rows["linear"]["groups"] == ["hidden"]
    assert rows["enter"]["groups"] == []
    (group,) = report.groups
    assert (group["name"], group["units"], group["members"]) == (
        "hidden",
        6,
        ["hidden (out)", "linear (in)"],
    )
    assert {row["name"] for row in report.exclusions} >= {"first", "second", "enter"}
    assert all(row["reason"] for row in report.exclusions)
    text = json.loads(json.dumps(report.to_json()))
    assert text["unsupported_operators"] == {"aten::fft": 2}


def test_a_model_of_no_operations(nets: Any) -> None:
    structure = derive(nets["chain"].build(), torch.randn(1, 3, 8, 8))
    assert coverage(structure, {}, 0, {}).quantisable_macs == 0
