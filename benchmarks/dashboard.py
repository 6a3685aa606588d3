"""Speed of the dashboard, with one server process and a real Chromium on one machine.

    python benchmarks/dashboard.py

Opens a search of ten thousand synthetic candidates with an empty and with a filled browser cache, then moves a budget
slider and measures the time from the input event until the API's answer is on the page. Everything but the candidates
is real. Without a GPU, WebGL is rendered on the processor. Needs Playwright (`pip install -e '.[dev]'`) and Chromium
(`LEANFRONT_BROWSER`, or on the path). Prints Markdown.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import Browser, BrowserContext, Page

from leanfront.core.storage import FrontierStore

PAGE = "/searches/it"
MARKS = {
    "first-contentful-paint": "first contentful paint",
    "leanfront-drawn": "all candidates are drawn",
}
ANSWER = "leanfront-answer"
TIMES = """() => Object.fromEntries(["paint", "mark"].flatMap((kind) => performance.getEntriesByType(kind))
    .map((each) => [each.name, each.startTime]))"""
MOVE = """(slider, to) => {
    slider.value = to;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
}"""
ANSWERS = f"() => performance.getEntriesByName('{ANSWER}').map((each) => each.duration)"
ZOOM = """async (place) => {
    const begin = performance.now();
    await Plotly.relayout(place, { "xaxis.autorange": false, "xaxis.range[0]": 4.2 });
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    return performance.now() - begin;
}"""


def beside(path: str) -> Any:
    """Load a module by its path relative to this folder."""
    place = Path(__file__).parent / path
    specification = importlib.util.spec_from_file_location(f"{place.stem}_beside", place)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def profile(browser: Browser, port: int) -> BrowserContext:
    """Return a browser context with an empty cache."""
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{port}", viewport={"width": 1280, "height": 900}
    )
    context.set_default_timeout(60_000)
    return context


def load(context: BrowserContext, path: str) -> tuple[Page, dict[str, float]]:
    """Open a page and wait until it is complete; return the milliseconds of each mark since navigation started."""
    page = context.new_page()
    page.goto(path)
    limit = time.monotonic() + 60
    while not set(MARKS) <= set(found := page.evaluate(TIMES)):
        assert time.monotonic() < limit, f"the page marks only {', '.join(found)}"
        page.wait_for_timeout(50)
    return page, {name: float(found[name]) for name in MARKS}


def answers(page: Page, moves: int) -> list[float]:
    """Move the first budget slider; return the milliseconds from each input event to the answer."""
    slider = page.locator("input[type=range]").first
    low, high = (float(slider.get_attribute(name) or 0) for name in ("min", "max"))
    for number in range(moves):
        before = len(page.evaluate(ANSWERS))
        # Every move sets a new budget, so that no answer can be repeated.
        share = 0.35 + 0.6 * ((number * 0.618) % 1)
        slider.evaluate(MOVE, str(low + share * (high - low)))
        while len(page.evaluate(ANSWERS)) == before:
            page.wait_for_timeout(5)
    return [float(each) for each in page.evaluate(ANSWERS)][-moves:]


def row(what: str, goal: str, values: Sequence[float]) -> str:
    """Format a row of the table: smallest, median and largest value."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return f"| {what} | {goal} | {ordered[0]:,.0f} | **{middle:,.0f}** | {ordered[-1]:,.0f} |"


@click.command()
@click.option("--candidates", "count", default=10_000, show_default=True)
@click.option("--front", default=300, show_default=True)
@click.option("--repeats", default=5, show_default=True, help="Number of browsers.")
@click.option("--moves", default=40, show_default=True, help="Slider moves in each browser.")
def main(count: int, front: int, repeats: int, moves: int) -> None:
    """Benchmark the dashboard."""
    store_benchmark, api, chromium = beside("store.py"), beside("api.py"), beside("../tests/chromium.py")
    cold: dict[str, list[float]] = {name: [] for name in MARKS}
    warm: dict[str, list[float]] = {name: [] for name in MARKS}
    moved: list[float] = []
    zoomed: list[float] = []
    with tempfile.TemporaryDirectory() as folder, FrontierStore(f"sqlite:///{folder}/it.db") as store:
        store.create_search(store_benchmark.record())
        store_benchmark.fill(store, store_benchmark.points(front, count - front), full=True)
        store.set_state("it", "done")
        with api.served(store) as port, chromium.launched() as browser:
            version = browser.version
            for _ in range(repeats):
                context = profile(browser, port)
                page, found = load(context, PAGE)
                for name, value in found.items():
                    cold[name].append(value)
                moved += answers(page, moves)
                zoomed.append(float(page.locator(".js-plotly-plot").first.evaluate(ZOOM)))
                page.close()
                page, found = load(context, PAGE)
                for name, value in found.items():
                    warm[name].append(value)
                context.close()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Chromium {version}, SQLite; {count:,} candidates,")
    print(f"{front} of them on the frontier; milliseconds.\n")
    print("| what | goal | least | median | most |\n|---|---|---|---|---|")
    for title, times in (("a fresh browser", cold), ("one that was there before", warm)):
        for name, said in MARKS.items():
            print(row(f"{title}: {said}", "2,000" if name == "leanfront-drawn" else "", times[name]))
    print(row(f"budget slider to answer ({len(moved)} moves)", "100", moved))
    print(row("zooming in", "", zoomed))


if __name__ == "__main__":
    main()
