"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from targets import Target, resolve

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trained weights of the tests never enter the user's cache, and stale ones of it never enter the tests."""
    before = os.environ.get("LEANFRONT_CACHE")
    os.environ["LEANFRONT_CACHE"] = str(tmp_path_factory.mktemp("leanfront-cache"))
    yield
    if before is None:
        del os.environ["LEANFRONT_CACHE"]
    else:
        os.environ["LEANFRONT_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that tests and benchmarks share; skips where it is absent."""
    if not (SHARED_DATA / "cifar10_jpeg.zip").is_file():
        pytest.skip("the shared data (../shared/data, see its README.md) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def digits() -> Target:
    """The built-in target `digits`, trained once a session."""
    return resolve("digits")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Tests that draw from the global generator do so from the same state whatever ran before."""
    torch.manual_seed(0)


TINY = Path(__file__).with_name("tiny.py")
"""A file with small targets: see its functions."""


@pytest.fixture(scope="session")
def tiny() -> Target:
    """A three-layer network on made-up images, from a file, so that other processes can load it too."""
    return resolve(f"{TINY}:target")


@pytest.fixture(scope="session")
def tiny_file() -> Path:
    """Path of the file that `tiny` comes from, with targets that die and break."""
    return TINY
