"""A target small enough that a search takes seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from targets import Target, resolve

TINY = Path(__file__).parent / "tiny.py"


@pytest.fixture(scope="session")
def tiny() -> Target:
    """A three-layer network on made-up images, from a file, so that pool processes can load it too."""
    return resolve(f"{TINY}:target")


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """A copy of the tiny target's file in a folder of the test's own."""
    return Path(shutil.copy(TINY, tmp_path / "tiny.py"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
