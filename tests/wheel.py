"""The wheel of the sources as they are."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.once import once

ROOT = Path(__file__).resolve().parents[1]
TOPS = (
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
    "tests",
    "docs",
    "examples",
    "scripts",
    "benchmarks",
    "leanfront",
)


def build_wheel(folder: Path, *, links: bool = True) -> Path:
    """Build it from a copy of the sources: setuptools leaves a build folder, which would go into the next one.

    Args:
        folder: where the copy and the wheel are put.
        links: whether the copy has the links in ``leanfront/core``, as not every checkout has.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    source = folder / "source"
    source.mkdir()
    for name in (*TOPS, *project["tool"]["setuptools"]["package-dir"].values()):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    for link in () if links else (source / "leanfront" / "core").iterdir():
        if link.is_symlink():
            text = str(link.readlink())
            link.unlink()
            link.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder), "--verbose", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout, done.stdout
    (built,) = folder.glob("*.whl")
    return built


def shared_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once for all processes of a run."""
    (built,) = once(tmp_path_factory, "wheel", build_wheel).glob("*.whl")
    return built
