"""The suite of stores on an implementation that is not ours: one in memory."""

from __future__ import annotations

import pytest

from leanfront.testing import StoreConformance
from tests.leanfront.testing.memory_store import MemoryStore


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()
