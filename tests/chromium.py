"""A real Chromium for tests, benchmarks and pictures. No test file: others load it by its path."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

VARIABLE = "LEANFRONT_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without a GPU, WebGL is drawn by the processor; all else is too, but not through GL, which takes twice as long.
OPTIONS = ("--enable-unsafe-swiftshader", "--disable-gpu", "--disable-dev-shm-usage")


def executable() -> str:
    """Path of a Chromium: what LEANFRONT_BROWSER names, or one on the path. Raises `RuntimeError`."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise RuntimeError(
            f"no browser: none of {', '.join(NAMES)} is installed, and {VARIABLE} names none; install one "
            "(Debian: apt-get install chromium)"
        )
    return found


@contextmanager
def launched() -> Iterator[Browser]:
    """A running browser."""
    # Root has no sandbox.
    own = () if os.geteuid() else ("--no-sandbox",)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=[*OPTIONS, *own])
        try:
            yield browser
        finally:
            browser.close()
