"""The page of searches: the list, what is done there, and that it changes by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Request, expect

from leanfront.core.search import SearchOptions, queued
from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.http.keys import Keys
from tests.dashboard.browser import Watch
from tests.dashboard.showcase import BIG, ODD
from tests.leanfront.filling import Fill
from tests.leanfront.runners import working
from tests.leanfront.served import served

Open = Callable[..., AbstractContextManager[tuple[Page, Watch]]]
API = "/api/v1"
TINY = Registry.of(("tiny=tests/tiny.py:target",))
TRIALS = 12
WATCH = """() => {
  const shown = document.querySelector(".search .how");
  window.seen = "";
  const watch = new MutationObserver(() => (window.seen += `${shown.textContent};`));
  watch.observe(shown, {childList: true, subtree: true});
}"""
"""Keeps what is said of the first search's trials, however short it stands."""
FOCUSED = """() => {
  const {labels, textContent} = document.activeElement;
  return [...(labels ?? []), {textContent}].map((each) => each.textContent.trim());
}"""
KEY = "a-key-of-many-letters"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FrontierStore]:
    """An empty database."""
    with FrontierStore(f"sqlite:///{tmp_path}/fresh.db") as fresh:
        yield fresh


def asked(url: str, path: str, **parameters: Any) -> Any:
    return httpx2.get(f"{url}{API}/{path}", params=parameters).raise_for_status().json()


def wait_in_queue(store: FrontierStore, name: str, trials: int = 9) -> None:
    options = SearchOptions(trials=trials)
    store.create_search(queued(name, "tests/tiny.py:target", options, registered="tiny"))


def card(page: Page, name: str) -> Locator:
    return page.locator(".search").filter(has=page.get_by_role("link", name=name, exact=True))


def names(page: Page) -> list[str]:
    return page.locator(".search h2").all_inner_texts()


def test_the_list_is_the_database(big: str, open_page: Open) -> None:
    rows = asked(big, "searches")
    with open_page(big) as (page, _):
        page.goto("/")
        expect(page.locator(".search")).to_have_count(len(rows))
        assert names(page) == [row["name"] for row in rows[::-1]]
        expect(page.locator(".live")).to_have_text("live")
        for row in rows:
            shown = card(page, row["name"])
            expect(shown).to_contain_text(row["target"])
            expect(shown.locator(".state")).to_have_text(row["state"])
            expect(shown).to_contain_text(f"{row['trials']} trials")
            expect(shown).to_contain_text(
                f"{row['hypervolume']} hypervolume · {row['frontier_size']} on the frontier"
            )
            grown = asked(big, f"searches/{quote(row['name'], safe='')}/progress")
            line = shown.get_by_role("img")
            expect(line).to_have_accessible_name(re.compile(f"after {grown['trials'][-1]} trials$"))
            assert len((line.locator("polyline").get_attribute("points") or "").split()) == len(
                grown["trials"]
            )
        # What users named and wrote is text.
        odd = card(page, ODD)
        expect(odd.locator(".message")).to_have_text(
            str(next(r for r in rows if r["name"] == ODD)["message"])
        )
        assert page.locator("main b, main img, main script").count() == 0
        address = odd.get_by_role("link").get_attribute("href")
        assert httpx2.get(f"{big}{address}").status_code == 200
        assert httpx2.get(f"{big}{API}{address}").json()["name"] == ODD


def test_what_is_asked_for_is_in_the_address(big: str, open_page: Open) -> None:
    with open_page(big) as (page, _):
        page.goto("/")
        page.get_by_label("Name or target").fill("DIGI")
        expect(page.get_by_text("1 of 2 searches")).to_be_visible()
        page.get_by_label("State", exact=True).select_option("failed")
        expect(page.get_by_text("No search matches.")).to_be_visible()
        page.reload()
        expect(page.get_by_text("No search matches.")).to_be_visible()
        expect(page.get_by_label("Name or target")).to_have_value("DIGI")
        page.get_by_role("button", name="Show all").click()
        expect(page.locator(".search")).to_have_count(2)
        page.goto("/?state=failed")
        expect(page.locator(".search")).to_have_count(1)
        assert names(page) == [ODD]
        page.goto("/?order=frontier")
        expect(page.locator(".search")).to_have_count(2)
        assert names(page) == [BIG, ODD]


def test_a_search_from_the_keyboard_to_its_end(store: FrontierStore, open_page: Open) -> None:
    with served(store, TINY) as url, open_page(url) as (page, _):
        page.goto("/")
        expect(page.get_by_text("There are no searches in this database yet.")).to_be_visible()
        expect(page.get_by_text("leanfront search digits")).to_be_visible()
        page.evaluate("window.before = true")
        press_to(page, "Start a search")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Target", exact=True)).to_be_visible()
        expect(page.get_by_text("No worker is running")).to_be_visible()
        press_to(page, "Name")
        page.keyboard.type("mine")
        press_to(page, "Trials")
        page.keyboard.press("Control+a")
        page.keyboard.type(str(TRIALS))
        press_to(page, "BOPs")
        page.keyboard.press("Space")
        press_to(page, "Start it")
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="mine", exact=True)).to_be_focused()
        mine = card(page, "mine")
        expect(mine.locator(".state")).to_have_text("queued")
        expect(mine).to_contain_text(f"0 of {TRIALS} trials")
        found = asked(url, "searches/mine")
        assert (found["goal"], found["objectives"]) == (TRIALS, ["accuracy", "macs", "bops", "memory"])
        expect(page.get_by_text("No worker is running")).to_be_visible()
        page.evaluate(WATCH)
        with working(store, TINY):
            expect(mine.locator(".state")).to_have_text("running")
            expect(page.get_by_text("No worker is running")).to_have_count(0)
            expect(mine.get_by_role("progressbar")).to_be_visible()
            expect(mine.locator(".state")).to_have_text("done")
            wait_in_queue(store, "long", 5000)
            expect(card(page, "long")).to_contain_text(re.compile(r"running [1-9]\d* of 5000 trials"))
            card(page, "long").get_by_role("button", name="Cancel").click()
            expect(card(page, "long").locator(".state")).to_have_text("cancelled")
            assert asked(url, "searches/long")["state"] == "cancelled"
            store.delete_search("long")
        seen = [
            int(number) for number in re.findall(rf"(\d+) of {TRIALS} trials", page.evaluate("window.seen"))
        ]
        assert seen == sorted(seen)
        assert len(set(seen)) > 2, "the trials were not seen to grow"
        row = asked(url, "searches/mine")
        expect(mine).to_contain_text(f"{TRIALS} trials")
        expect(mine).to_contain_text(f"{row['frontier_size']} on the frontier")
        expect(mine.get_by_role("img")).to_have_accessible_name(re.compile(f"after {TRIALS} trials$"))
        expect(mine.get_by_role("progressbar")).to_be_hidden()
        assert page.evaluate("window.before"), "the page was loaded anew"
        mine.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        assert asked(url, "searches")
        mine.get_by_role("button", name="Delete").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_text("There are no searches in this database yet.")).to_be_visible()
        assert asked(url, "searches") == []


def press_to(page: Page, name: str) -> None:
    """Press the Tab key until the focus is on a control of that label, or that text."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if name in page.evaluate(FOCUSED):
            return
    raise AssertionError(f"the Tab key does not lead to {name}")


def test_what_others_do_is_seen(store: FrontierStore, open_page: Open) -> None:
    wait_in_queue(store, "mine")
    with served(store, TINY) as url, open_page(url) as (page, watch):
        # It may go while its growth is asked for.
        watch.allow("/theirs/progress")
        page.goto("/")
        mine = card(page, "mine")
        mine.get_by_role("button", name="Cancel").click()
        expect(mine.locator(".state")).to_have_text("cancelled")
        assert asked(url, "searches/mine")["state"] == "cancelled"
        expect(mine.get_by_role("button", name="Resume")).to_be_focused()
        page.keyboard.press("Enter")
        expect(mine.locator(".state")).to_have_text("queued")
        assert asked(url, "searches/mine")["state"] == "queued"
        Fill.search(store, 12, "theirs")
        expect(card(page, "theirs")).to_contain_text("12 trials")
        assert names(page) == ["theirs", "mine"]
        store.set_state("theirs", "failed", "it fell over")
        expect(card(page, "theirs").locator(".message")).to_have_text("it fell over")
        store.delete_search("theirs")
        expect(card(page, "theirs")).to_have_count(0)


def test_a_stream_that_breaks_off(store: FrontierStore, open_page: Open) -> None:
    for name in ("one", "two"):
        Fill.search(store, 0, name)
    with served(store, TINY) as url, open_page(url) as (page, watch):
        watch.allow("ERR_FAILED")
        # It goes while its growth is asked for.
        watch.allow("/one/progress")
        page.route("**/api/v1/events", lambda route: route.abort())
        page.goto("/")
        expect(page.get_by_text("not live: trying again")).to_be_visible()
        assert names(page) == ["two", "one"]
        store.delete_search("one")
        page.unroute("**/api/v1/events")
        expect(page.locator(".live")).to_have_text("live")
        expect(page.locator(".search")).to_have_count(1)
        assert names(page) == ["two"]


def test_refusals_are_shown_at_their_fields(store: FrontierStore, open_page: Open) -> None:
    Fill.search(store, 0, "taken")
    with served(store, TINY) as url, open_page(url) as (page, watch):
        watch.allow("422")
        watch.allow("409")
        page.goto("/")
        page.get_by_text("Start a search").click()
        form = page.locator("form")
        name = form.get_by_label("Name", exact=True)
        name.fill("a/b")
        form.get_by_role("button", name="Start it").click()
        refused = httpx2.post(f"{url}{API}/searches", json={"target": "tiny", "name": "a/b"}).json()[
            "errors"
        ][0]
        expect(name).to_have_accessible_description(re.compile(f"{re.escape(refused['detail'])}$"))
        expect(name).to_have_attribute("aria-invalid", "true")
        expect(name).to_be_focused()
        assert not Axe().run(page).response["violations"]
        name.fill("taken")
        form.get_by_text("How it searches").click()
        bits = form.get_by_role("group", name="Weight bits").get_by_role("checkbox")
        for each in bits.all():
            each.uncheck()
        form.get_by_text("How it searches").click()
        form.get_by_role("button", name="Start it").click()
        expect(form.get_by_role("group", name="Weight bits").locator(".wrong")).to_contain_text(
            "bits must be a sequence of 1 to 9 values"
        )
        expect(bits.first).to_be_focused()
        expect(name).to_have_attribute("aria-invalid", "false")
        bits.last.check()
        form.get_by_role("button", name="Start it").click()
        expect(form.get_by_role("alert")).to_contain_text("taken")
        assert [row["name"] for row in asked(url, "searches")] == ["taken"]


def test_a_server_without_targets(store: FrontierStore, open_page: Open) -> None:
    with served(store, Registry()) as url, open_page(url) as (page, _):
        page.goto("/")
        page.get_by_role("button", name="Start a search").click()
        expect(page.get_by_text("This server offers no target.")).to_be_visible()
        expect(page.get_by_text("leanfront serve --target")).to_be_visible()


def test_hundreds_of_searches(store: FrontierStore, open_page: Open) -> None:
    """Newest first, some at a time; what is out of sight is not asked for, and little at once."""
    for number in range(120):
        store.create_search(Fill.record(f"s{number}"))
    running: set[Request] = set()
    most: list[int] = []
    with served(store, TINY) as url, open_page(url) as (page, _):

        def begin(request: Request) -> None:
            if request.url.endswith("/progress"):
                running.add(request)
                most.append(len(running))

        page.on("request", begin)
        page.on("requestfinished", lambda request: running.discard(request))
        page.goto("/")
        expect(page.locator(".search")).to_have_count(50)
        assert names(page) == [f"s{number}" for number in range(119, 69, -1)]
        expect(page.locator(".live")).to_have_text("live")
        page.get_by_role("button", name="Show 50 more").click()
        expect(page.get_by_role("link", name="s69", exact=True)).to_be_focused()
        page.get_by_role("button", name="Show 20 more").click()
        expect(page.locator(".search")).to_have_count(120)
        expect(page.get_by_role("button", name=re.compile("^Show"))).to_have_count(0)
        page.get_by_label("Order").select_option("name")
        assert names(page)[:2] == ["s0", "s1"]
        assert 0 < len(most) < 100
        assert max(most) <= 3


def test_a_server_with_keys(store: FrontierStore, open_page: Open) -> None:
    Fill.search(store, 3, "secret")
    with served(store, TINY, keys=Keys.of([KEY])) as url, open_page(url) as (page, watch):
        watch.allow("401")
        page.goto("/")
        dialog = page.get_by_role("dialog", name="API key")
        dialog.get_by_label("API key").fill("another-key-of-many-letters")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_have_text("the key is not one of this server's")
        dialog.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        expect(card(page, "secret")).to_contain_text("3 trials")
        expect(page.locator(".live")).to_have_text("live")
        page.reload()
        expect(card(page, "secret")).to_be_visible()
        page.get_by_role("button", name="Forget the key").click()
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("alert")).to_contain_text("A valid API key is needed")
        expect(page.get_by_text("secret")).to_have_count(0)
