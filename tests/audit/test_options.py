"""What a user may say of an audit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leanfront.core.audit import AuditOptions, kinds_of
from leanfront.core.audit.kind import Kind
from leanfront.core.audit.kinds import KINDS, register
from leanfront.core.objectives.corruptions import CORRUPTIONS, MAIN
from leanfront.errors import UsageError


def test_the_defaults_are_the_literatures() -> None:
    options = AuditOptions()
    assert len(options.corruptions) == 15
    assert options.corruptions == tuple(MAIN)
    assert options.severities == (1, 2, 3, 4, 5)


def test_there_and_back() -> None:
    options = AuditOptions(
        population="trained",
        models=3,
        levels=("pruning", "gradual"),
        split="validation",
        samples=7,
        corruptions=("fog",),
        severities=(2, 5),
        gallery=0,
        seed=9,
        corrupted="/a",
        shift="/b",
    )
    assert AuditOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert AuditOptions.from_json({}) == AuditOptions()
    # What is not said stays as it is by default.
    assert AuditOptions.from_json({"models": 4}) == AuditOptions(models=4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"population": "cloned"}, "unknown population 'cloned'; known: recalibrated, trained"),
        ({"models": 0}, "1 to 1000 models, not 0"),
        ({"models": 1001}, "1 to 1000 models, not 1001"),
        ({"split": "train"}, "validation and test, not 'train'"),
        ({"samples": 0}, "samples must be at least 1, not 0"),
        ({"gallery": -1}, "0 to 1000 images, not -1"),
        ({"gallery": 1001}, "0 to 1000 images, not 1001"),
        ({"seed": -1}, "a seed is 0 or more, not -1"),
        ({"corruptions": ("fog", "rain")}, "unknown corruption: rain; known: gaussian_noise"),
        ({"corruptions": ()}, "no corruption is named; known: gaussian_noise"),
        ({"severities": (1, 6)}, "severities are 1 to 5, not 1, 6"),
        ({"severities": ()}, "severities are 1 to 5, not none"),
        ({"criterion": "magic"}, "unknown criterion 'magic'; known: random, l1"),
        ({"method": "magic"}, "unknown method 'magic'; known: rounding, bank, sequential"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AuditOptions(**given)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(UsageError, match="unknown audit option: modles; known: population, models"):
        AuditOptions.from_json({"modles": 3})
    assert set(CORRUPTIONS) >= set(MAIN)


def test_kinds_by_name() -> None:
    assert [kind.name for kind in kinds_of(("robustness", "classes", "robustness"))] == [
        "robustness",
        "classes",
    ]
    with pytest.raises(UsageError, match=r"unknown kind of audit: beauty; known: .*classes.*robustness"):
        kinds_of(("classes", "beauty"))
    with pytest.raises(UsageError, match="no kind of audit is named; known"):
        kinds_of(())
    with pytest.raises(ValueError, match="'classes' is registered already"):
        register(Kind("classes", "Again", KINDS["classes"].run, (), ""))
