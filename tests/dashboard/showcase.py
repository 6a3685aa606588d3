"""Searches for the dashboard to show: a real one with all its audits, and one of ten thousand made-up candidates."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import leanfront
from leanfront.core.storage import FrontierStore
from tests.leanfront.filling import Fill

NAME = "digits"
BIG = "big"
MANY = 10_000
ODD = "<b>odd<b> & \"quoted\" 'name' %41?#é"
"""What a user may call a search; a page that took it for markup or for an address would show it."""
DATABASE = "showcase.db"
KINDS = ("classes", "exemplars", "calibration", "robustness", "limits", "bounds", "capacity", "geometry")


def searched(folder: Path) -> None:
    """`digits` with recovered candidates and all kinds of audits of two of them; files beside the database."""
    before = os.environ.get("LEANFRONT_ARTIFACTS")
    os.environ["LEANFRONT_ARTIFACTS"] = str(folder / "artifacts")
    try:
        found = leanfront.search(
            "digits",
            name=NAME,
            trials=40,
            recover=1,
            database=f"sqlite:///{folder / DATABASE}",
            device="cpu",
        )
        members = [each.id for each in found.frontier()]
        found.audit(
            members[0],
            members[len(members) // 2],
            kinds=KINDS,
            models=2,
            samples=40,
            gallery=6,
            corruptions=("gaussian_noise", "contrast"),
            severities=(1, 3),
            criteria=("l1", "lamp"),
            ratios=(0.5, 0.9),
        )
        with closing(sqlite3.connect(folder / DATABASE)) as connection:
            # Tests copy this file alone, and what was written last may lie beside it as long as a store is open.
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy
    finally:
        if before is None:
            del os.environ["LEANFRONT_ARTIFACTS"]
        else:
            os.environ["LEANFRONT_ARTIFACTS"] = before


def many(folder: Path) -> None:
    """`big` of ten thousand candidates, and one with an odd name and an odd reason."""
    with FrontierStore(f"sqlite:///{folder / DATABASE}") as store:
        Fill.search(store, MANY, BIG)
        Fill.search(store, 12, ODD, target="<img src=x onerror=alert(1)>")
        store.set_state(ODD, "failed", "<script>alert(2)</script> & more")
