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
    assert AuditOptions(corruptions="all").corruptions == tuple(CORRUPTIONS)  # type: ignore[arg-type]


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
    assert AuditOptions.read(json.loads(json.dumps(options.to_json()))) == options
    assert AuditOptions.read({}) == AuditOptions()
    # What is not said stays as it is by default.
    assert AuditOptions.read({"models": 4}) == AuditOptions(models=4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"population": "cloned"}, "unknown population 'cloned'; choose from recalibrated, trained"),
        ({"models": 0}, "models must be a whole number from 1 to 1,000, not 0"),
        ({"models": 1001}, "models must be a whole number from 1 to 1,000, not 1001"),
        ({"split": "train"}, "unknown split 'train'; choose from validation, test"),
        ({"samples": 0}, "samples must be a whole number from 1 to 1,000,000, not 0"),
        ({"gallery": -1}, "gallery must be a whole number from 0 to 1,000, not -1"),
        ({"gallery": 1001}, "gallery must be .* not 1001"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"corruptions": ("fog", "rain")}, "unknown corruptions 'rain'; choose from gaussian_noise"),
        ({"corruptions": ()}, "corruptions must be a sequence of 1 or more values, not of 0"),
        ({"severities": (1, 6)}, "unknown severities 6; choose from 1, 2, 3, 4, 5"),
        ({"severities": ()}, "severities must be a sequence of 1 or more values"),
        ({"criterion": "magic"}, "unknown criterion 'magic'; choose from random, l1"),
        ({"method": "magic"}, "unknown method 'magic'; choose from rounding, bank, sequential"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        AuditOptions(**given)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(UsageError, match="unknown option 'modles'; did you mean 'models'"):
        AuditOptions.read({"modles": 3})
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
