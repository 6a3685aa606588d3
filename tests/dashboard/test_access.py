"""Whoever reads a page: with a screen reader, the keyboard, little colour vision, in the dark, or on a phone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.dashboard.browser import Watch

Open = Callable[..., AbstractContextManager[tuple[Page, Watch]]]
PAGES: dict[str, str] = {
    "searches": "/",
    "frontier": "/searches/digits?max_memory_bytes=8000",
    "infeasible": "/searches/digits?max_memory_bytes=1",
    "audits": "/searches/digits/audits",
    "classes": "/searches/digits/audits/classes",
    "exemplars": "/searches/digits/audits/exemplars",
    "geometry": "/searches/digits/geometry",
    "candidate": "/candidates/{first}",
    "compare": "/compare?ids={first},{last}",
    "unknown": "/searches/nothing",
}
PHONE, DESK = 375, 1280


@pytest.fixture(scope="module")
def addresses(showcase: str) -> dict[str, str]:
    """Page -> address on the showcase."""
    found = httpx2.get(f"{showcase}/api/v1/searches/digits/frontier").json()["candidates"]
    return {name: path.format(first=found[0]["id"], last=found[-1]["id"]) for name, path in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_it(name: str, addresses: dict[str, str], open_page: Open, showcase: str) -> None:
    """In both colour schemes, at two widths: the page follows the system while it is open."""
    narrow = {"color_scheme": "light", "viewport": {"width": PHONE, "height": 800}}
    with open_page(showcase, **narrow) as (page, watch):
        watch.allow("404")
        page.goto(addresses[name])
        require_usable(page)
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": DESK, "height": 800})
        require_usable(page)


def require_usable(page: Page) -> None:
    # Streams of events keep the network busy for ever.
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    expect(page.locator("h1")).to_have_count(1)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{wide} pixels of the page are out of sight"
    # Contrast, names of controls, roles, order of headings: WCAG 2 to level AA, and what axe recommends.
    found = Axe().run(page).response["violations"]
    assert not found, "\n".join(
        f"{each['id']} ({each['help']}): {', '.join(str(node['html'])[:200] for node in each['nodes'][:3])}"
        for each in found
    )
