"""Find the packages to install, including those in new folders; everything else is in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import find_packages, setup

mapped = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
    "package-dir"
]
packages = set(find_packages(include=["leanfront", "leanfront.*"]))
# The links in leanfront/core are not used: not every checkout has them.
for name, folder in mapped.items():
    packages |= {name, *(f"{name}.{package}" for package in find_packages(folder))}
setup(packages=sorted(packages))
