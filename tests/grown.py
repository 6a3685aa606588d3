"""A copy of the package with one more option, defined in one place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("targets", "compressors", "cost_models", "objectives", "search", "storage", "audit", "leanfront")
LINE = """
    sparkle: int = option(
        3, "Amount of sparkle of the frontier.", least=1, most=9, title="Sparkle at most"
    )
"""
BEFORE = "    sampler: str = option("


def grow(folder: Path) -> dict[str, str]:
    """Copy the package into a folder, add the option `sparkle` to `SearchOptions`.

    Returns:
        Environment in which Python imports the copy.
    """
    for room in (*ROOMS, "docs"):
        shutil.copytree(
            ROOT / room, folder / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.png")
        )
    options = folder / "search" / "options.py"
    text = options.read_text(encoding="utf-8")
    assert text.count(BEFORE) == 1
    options.write_text(text.replace(BEFORE, f"{LINE.lstrip(chr(10))}{BEFORE}"), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
