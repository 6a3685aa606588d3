from __future__ import annotations

from leanfront.core import objectives


def test_every_public_name_exists_and_is_listed_once() -> None:
    assert all(hasattr(objectives, name) for name in objectives.__all__)
    assert len(set(objectives.__all__)) == len(objectives.__all__)
