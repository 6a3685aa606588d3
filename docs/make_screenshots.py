"""Take the pictures of the dashboard for docs/dashboard.md.

python docs/make_screenshots.py

Runs a search on the built-in digits with its audits in a temporary folder (minutes), serves it, and takes
pictures in Chromium (`LEANFRONT_BROWSER`, or on the path). `--database URL --search NAME` shows another search;
`LEANFRONT_ARTIFACTS` names the folder of its files.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import click
from playwright.sync_api import Page

# For the browser and server of the tests: a script has only its own folder on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

import leanfront
from leanfront.core.storage import FrontierStore
from tests.chromium import launched
from tests.leanfront.served import served

FOLDER = Path(__file__).parent
WIDE, PHONE = {"width": 1280, "height": 1100}, {"width": 390, "height": 844}
SETTLED = 2500
"""Milliseconds until charts have been drawn and have stopped moving."""


def made(folder: Path) -> tuple[str, str]:
    """Run and audit a search; return the URL of its database and its name."""
    os.environ["LEANFRONT_ARTIFACTS"] = str(folder / "artifacts")
    url = f"sqlite:///{folder}/leanfront.db"
    found = leanfront.search(
        "digits", name="digits", trials=150, recover=3, recover_minutes=0.5, database=url
    )
    members = [each.id for each in found.frontier()]
    some = [members[round(share * (len(members) - 1))] for share in (0.25, 0.5, 0.75)]
    kinds = ("classes", "exemplars", "calibration", "robustness", "limits", "bounds", "capacity", "geometry")
    found.audit(*some, kinds=kinds, models=4, samples=200, levels=("pruning",))
    return url, "digits"


class View(NamedTuple):
    """A picture: file name, address, viewport size, colour scheme, and the part of the page to scroll to."""

    file: str
    address: str
    size: dict[str, int] = WIDE
    scheme: str = "light"
    part: str = "main"


def views(url: str, name: str) -> list[View]:
    """Return the pictures to take."""
    with FrontierStore(url) as store:
        members = sorted(store.frontier(name), key=lambda each: each.value("memory_bytes") or 0.0)
        dense = next(each.value for each in store.search(name).dense if each.name == "memory_bytes")
    middle, near, far = (members[round(share * (len(members) - 1))] for share in (0.5, 0.25, 0.75))
    search = f"/searches/{quote(name, safe='')}"
    budget = f"{search}?max_memory_bytes={round(dense / 20)}"
    return [
        View("searches", "/"),
        View("frontier", budget),
        View("frontier-dark", budget, PHONE, "dark"),
        View("candidate", f"/candidates/{middle.id}", part="#layers"),
        View("compare", f"/compare?ids={near.id},{middle.id},{far.id}"),
        View("audits", f"{search}/audits/classes"),
        View("exemplars", f"{search}/audits/exemplars", part="main details"),
        View("geometry", f"{search}/geometry", scheme="dark", part="main section:nth-of-type(2)"),
    ]


def take(page: Page, view: View) -> None:
    """Take one picture."""
    page.goto(view.address)
    page.wait_for_timeout(SETTLED)
    part = page.locator(view.part).first
    if part.evaluate("(part) => part.tagName") == "DETAILS":
        part.locator("summary").click()
    part.evaluate("(part) => part.scrollIntoView()")
    page.wait_for_timeout(SETTLED)
    place = FOLDER / f"dashboard-{view.file}.png"
    page.screenshot(path=place)
    click.echo(f"{place.name}: {place.stat().st_size:,} bytes")


@click.command()
@click.option("--database", help="URL of a database with an audited search.")
@click.option("--search", "name", default="digits", show_default=True)
def main(database: str | None, name: str) -> None:
    """Take the pictures of the dashboard."""
    with tempfile.TemporaryDirectory() as folder:
        if database is None:
            database, name = made(Path(folder))
        with FrontierStore(database) as store, served(store) as url, launched() as browser:
            for view in views(database, name):
                context = browser.new_context(base_url=url, viewport=view.size, color_scheme=view.scheme)
                take(context.new_page(), view)
                context.close()


if __name__ == "__main__":
    main()
