"""Finds the packages to install, so that a new folder is one; everything else is in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import find_packages, setup

mapped = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
    "package-dir"
]
packages = set(find_packages(include=["leanfront", "leanfront.*"]))
# Not by the links of leanfront/core, which not every checkout has.
for name, folder in mapped.items():
    packages |= {name, *(f"{name}.{package}" for package in find_packages(folder))}
setup(packages=sorted(packages))
