"""Targets to audit, and a cache of answers of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from leanfront.core.audit import Answers
from leanfront.core.compressors import Structure
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
