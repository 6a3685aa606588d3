"""Targets to audit, and a cache of answers of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Configured, Findings
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.targets import Target, resolve


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    """An empty cache."""
    return Answers(tmp_path / "answers")


@pytest.fixture(scope="session")
def pictured(tiny_file: Path) -> Target:
    """`tiny`, whose inputs are images."""
    return resolve(f"{tiny_file}:pictured")


@pytest.fixture(scope="session")
def structure(tiny: Target) -> Structure:
    """Of `tiny` and its like."""
    return derive(tiny.model, tiny.example_input)


@pytest.fixture(scope="session")
def digits_structure(digits: Target) -> Structure:
    """Of `digits`."""
    return derive(digits.model, digits.example_input)


@pytest.fixture(scope="session")
def digits_answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """A cache that tests on the digits share."""
    return Answers(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="session")
def digits_auditor(digits: Target, digits_structure: Structure, digits_answers: Answers) -> Auditor:
    """Pruned and quantised digits, beside a candidate."""
    candidate = Configured("candidate 5", Configuration(weight_bits={"conv3": 4}), 5)
    options = AuditOptions(models=4, levels=("pruning", "quantisation"), gallery=5)
    return Auditor(digits, digits_structure, [candidate], options, samples=256, answers=digits_answers)


@pytest.fixture(scope="session")
def digits_findings(digits_auditor: Auditor) -> dict[str, Findings]:
    """What kinds that need no further images find."""
    return {name: KINDS[name].run(digits_auditor) for name in ("classes", "exemplars", "calibration")}
