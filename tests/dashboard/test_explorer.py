"""The frontier explorer: the budget's answer is the API's own, the address holds the view, and it works by keys."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from leanfront.core.objectives import STRATEGIES
from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from tests.dashboard.browser import Watch
from tests.dashboard.showcase import DATABASE, NAME, ODD
from tests.leanfront.commands import run
from tests.leanfront.runners import working
from tests.leanfront.served import served

Open = Callable[..., AbstractContextManager[tuple[Page, Watch]]]
Serve = Callable[..., AbstractContextManager[str]]
HERE = f"/searches/{NAME}"
TINY = Registry.of(("tiny=tests/tiny.py:target",))
PHONE = {"width": 375, "height": 800}
DRAWN = "performance.getEntriesByName('leanfront-drawn').length"


def asked(url: str, path: str, **parameters: Any) -> Any:
    return httpx2.get(f"{url}/api/v1/{path}", params=parameters).raise_for_status().json()


def chosen(url: str, **parameters: Any) -> int:
    """The candidate that the API selects."""
    found = asked(url, f"searches/{NAME}/select", **parameters)
    return int((found.get("candidate") or found["nearest"])["id"])


def answer(page: Page) -> Locator:
    return page.locator(".answer")


def expect_answer(page: Page, candidate: int) -> None:
    expect(answer(page)).to_have_attribute("data-candidate", str(candidate))


def ready(page: Page) -> None:
    """Wait until everything that is loaded behind the first chart is there."""
    expect(page.get_by_label("Choose by").locator("option")).to_have_count(4)


def limit(page: Page, place: int) -> Locator:
    return page.locator(f"#limit-{place}")


def traces(page: Page) -> dict[str, list[int | None]]:
    """Name of what the chart draws -> ids of its points."""
    script = "el => Object.fromEntries(el.data.map((t) => [t.name, Array.from(t.customdata ?? [])]))"
    return dict(page.locator(".frontier").evaluate(script))


def test_sliders_give_what_select_and_the_command_give(
    page: Page, showcase: str, showcase_folder: Path
) -> None:
    page.goto(HERE)
    ready(page)
    slider = page.get_by_role("slider", name="memory at most")
    for step in ("400", "250", "120"):
        slider.fill(step)
        size = parse_qs(urlsplit(page.url).query)["max_memory_bytes"][0]
        expect_answer(page, chosen(showcase, max_memory_bytes=size))
    page.get_by_role("slider", name="MACs at most").fill("100")
    query = parse_qs(urlsplit(page.url).query)
    limits = {name: query[name][0] for name in ("max_memory_bytes", "max_macs")}
    expect_answer(page, chosen(showcase, **limits))
    database = f"sqlite:///{showcase_folder / DATABASE}"
    words = ("--max-memory", limits["max_memory_bytes"], "--max-macs", limits["max_macs"], "--json")
    told = run("select", NAME, *words, "--database", database)
    expect_answer(page, json.loads(told.output)["candidate"]["id"])


def test_keys_move_a_slider_and_the_lines(page: Page, showcase: str) -> None:
    page.goto(f"{HERE}?max_memory_bytes=5000")
    ready(page)
    slider = page.get_by_role("slider", name="memory at most")
    slider.focus()
    before = chosen(showcase, max_memory_bytes=5000)
    expect_answer(page, before)
    for _ in range(30):
        page.keyboard.press("PageDown")
        if float(parse_qs(urlsplit(page.url).query)["max_memory_bytes"][0]) < 3000:
            break
    size = parse_qs(urlsplit(page.url).query)["max_memory_bytes"][0]
    after = chosen(showcase, max_memory_bytes=size)
    assert after != before
    expect_answer(page, after)
    expect(answer(page).get_by_role("status").first).to_contain_text(f"Candidate {after}: accuracy")
    drawn = page.locator(".frontier").evaluate("el => el.layout.shapes.map(({type, x0}) => [type, x0])")
    assert ["line", float(size)] in drawn


def test_typed_budgets_caps_and_strategies(page: Page, showcase: str) -> None:
    page.goto(HERE)
    ready(page)
    limit(page, 0).fill("4KB")
    limit(page, 0).press("Enter")
    expect_answer(page, chosen(showcase, max_memory_bytes="4KB"))
    expect(limit(page, 0)).to_have_value("4 KB")
    limit(page, 1).fill("sixty")
    limit(page, 1).press("Enter")
    expect(page.get_by_text("Enter a number")).to_be_visible()
    limit(page, 1).fill("60.6K")
    limit(page, 1).press("Enter")
    expect_answer(page, chosen(showcase, max_memory_bytes="4KB", max_macs="60.6K"))
    caps = page.locator(".caps form")
    caps.get_by_label("Measurement to limit").select_option("ece")
    caps.get_by_label("At least or at most").select_option("maximum")
    errors = asked(showcase, f"searches/{NAME}/candidates", columns="ece")["columns"]["ece"]["value"]
    least = min(each for each in errors if each)
    caps.get_by_label("Limit", exact=True).fill(str(least * 1.5))
    caps.get_by_role("button", name="Add limit").click()
    budget = {"max_memory_bytes": "4KB", "max_macs": "60.6K", "max_ece": least * 1.5}
    expect_answer(page, chosen(showcase, **budget))
    page.get_by_role("button", name="Remove: ECE").click()
    for strategy in STRATEGIES:
        page.get_by_label("Choose by").select_option(strategy)
        expect_answer(page, chosen(showcase, max_memory_bytes="4KB", max_macs="60.6K", strategy=strategy))


def test_an_infeasible_budget_names_the_nearest_and_what_binds(page: Page, showcase: str) -> None:
    page.goto(f"{HERE}?max_memory_bytes=10&min_accuracy=0.5")
    ready(page)
    found = asked(showcase, f"searches/{NAME}/select", max_memory_bytes=10, min_accuracy=0.5)
    assert not found["feasible"]
    expect_answer(page, found["nearest"]["id"])
    said = answer(page).get_by_role("status").first
    expect(said).to_contain_text(f"The nearest is candidate {found['nearest']['id']}: memory is off by")
    expect(said).to_contain_text(f"{found['cheapest']['memory_bytes']:.0f} B")
    expect(page.locator(".binding")).to_have_attribute("data-limit", found["binding"])
    page.goto(f"{HERE}?max_mce=0.01")
    open_one = asked(showcase, f"searches/{NAME}/select", max_mce=0.01)["unmeasured"]
    expect(answer(page)).to_contain_text(f"not measured on {len(open_one['candidates'])} candidates")
    expect(page.get_by_role("button", name="Have a worker measure it")).to_be_enabled()


def test_what_is_open_is_queued_for_a_worker(
    showcase_folder: Path, tmp_path: Path, serve: Serve, open_page: Open
) -> None:
    shutil.copy(showcase_folder / DATABASE, tmp_path)
    with serve(tmp_path) as url, open_page(url) as (page, _):
        page.goto(f"{HERE}?max_mce=0.01&max_memory_bytes=5000")
        page.get_by_role("button", name="Have a worker measure it").click()
        said = answer(page).get_by_text("Waiting for a worker")
        expect(said).to_be_visible()
        number = re.findall(r"job (\d+)", said.inner_text())[0]
        job = asked(url, f"jobs/{number}")
        assert (job["kind"], job["search"], job["state"]) == ("measure", NAME, "queued")


def test_the_address_holds_the_view(page: Page, showcase: str, open_page: Open) -> None:
    page.goto(HERE)
    ready(page)
    page.get_by_label("Across", exact=True).select_option("macs")
    page.get_by_label("Up", exact=True).select_option("accuracy:test")
    page.get_by_role("button", name="log: across").click()
    limit(page, 0).fill("3KB")
    limit(page, 0).press("Enter")
    member = asked(showcase, f"searches/{NAME}/frontier", max_memory_bytes="3KB")["candidates"][-1]["id"]
    page.get_by_role("button", name=f"Candidate {member}", exact=True).click()
    expect(page.get_by_role("button", name="Let go")).to_be_visible()
    expect_answer(page, chosen(showcase, max_memory_bytes="3KB"))
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    assert query | {"x": "macs", "y": "accuracy:test", "max_memory_bytes": "3000"} == query
    link = page.url.removeprefix(showcase)
    with open_page(showcase) as (other, _):
        other.goto(link)
        expect(other.get_by_label("Across", exact=True)).to_have_value("macs")
        expect(other.get_by_label("Up", exact=True)).to_have_value("accuracy:test")
        expect(limit(other, 0)).to_have_value("3 KB")
        expect_answer(other, chosen(showcase, max_memory_bytes="3KB"))
        expect(other.get_by_role("link", name=f"Candidate {member}", exact=True).first).to_be_visible()
        kinds = other.locator(".frontier").evaluate(
            "el => [el.layout.xaxis.type, el.layout.yaxis.title.text]"
        )
        assert kinds == ["linear", "accuracy on test"]
    page.go_back()
    expect(page.get_by_role("button", name="Let go")).to_have_count(0)
    page.go_back()
    expect_answer(page, chosen(showcase))
    expect(limit(page, 0)).to_have_value("")


def test_the_chart_draws_all_but_the_failed_in_two_and_three_dimensions(page: Page, showcase: str) -> None:
    whole = asked(showcase, f"searches/{NAME}/candidates")
    page.goto(HERE)
    ready(page)
    by_state = dict(zip(whole["ids"], zip(whole["states"], whole["on_frontier"], strict=True), strict=True))
    drawn = traces(page)
    parts = {
        "dominated": {id for id, (state, front) in by_state.items() if state == "complete" and not front},
        "stopped early (estimate)": {id for id, (state, _) in by_state.items() if state == "stopped"},
    }
    assert {name: set(drawn[name]) for name in parts} == parts
    front = {id for name, ids in drawn.items() if name.startswith("frontier") for id in ids}
    assert front == {id for id, (_, on) in by_state.items() if on}
    bounds = asked(showcase, f"searches/{NAME}/audits/bounds")["document"]["versions"]
    assert (
        set(drawn["entropy-coded bound"])
        == {each["candidate"] for each in bounds if each["candidate"]} & front
    )
    page.get_by_role("button", name="3-D").click()
    expect(page.get_by_label("Into depth", exact=True)).to_have_value("macs")
    expect(page.locator(".frontier canvas").first).to_be_visible()
    assert {id for name, ids in traces(page).items() if name.startswith("frontier") for id in ids} == front


def test_before_recovery_is_another_frontier(page: Page, showcase: str) -> None:
    page.goto(HERE)
    ready(page)
    page.get_by_label("Stage").select_option("before")
    early = asked(showcase, f"searches/{NAME}/frontier", stage="before", limit=1000)["candidates"]
    expect(page.get_by_text(f"{len(early)} frontier members are within the limits")).to_be_visible()
    assert set(traces(page)["frontier"]) == {each["id"] for each in early}

    def answers(size: int) -> list[int]:
        return [chosen(showcase, max_memory_bytes=size, stage=stage) for stage in ("before", "after")]

    # Which members are recovered, the search decides: a size at which it made a difference.
    sizes = sorted(each["memory_bytes"] for each in early)
    size = next(size for size in sizes if len(set(answers(size))) == 2)
    limit(page, 0).fill(str(size))
    limit(page, 0).press("Enter")
    before, after = answers(size)
    expect_answer(page, before)
    page.get_by_label("Stage").select_option("after")
    expect_answer(page, after)


def test_downloads_are_what_the_api_tells(page: Page, showcase: str) -> None:
    page.goto(f"{HERE}?max_memory_bytes=5000")
    ready(page)

    def saved(name: str) -> str:
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        return Path(download.value.path()).read_text()

    told = asked(showcase, f"searches/{NAME}/frontier", max_memory_bytes=5000, limit=1000)["candidates"]
    assert json.loads(saved("Frontier within the limits, JSON")) == told
    rows = list(csv.DictReader(io.StringIO(saved("Frontier within the limits, CSV"))))
    assert [(int(row["id"]), float(row["accuracy"]), float(row["memory_bytes"])) for row in rows] == [
        (each["id"], each["accuracy"], each["memory_bytes"]) for each in told
    ]
    every = asked(showcase, f"searches/{NAME}/candidates", columns="ece")
    rows = list(csv.DictReader(io.StringIO(saved("All candidates, CSV"))))
    assert [int(row["id"]) for row in rows] == every["ids"]
    assert [float(row["ece"]) if row["ece"] else None for row in rows] == every["columns"]["ece"]["value"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Chart, PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_parallel_coordinates_and_the_knee(page: Page, showcase: str) -> None:
    page.goto(f"{HERE}?max_memory_bytes=5000&parallel=1&knee=1")
    told = asked(showcase, f"searches/{NAME}/frontier", max_memory_bytes=5000, limit=1000)["candidates"]
    table = page.locator("table.configurations")
    expect(table.locator("tbody tr")).to_have_count(len(told))
    names = table.locator("thead th").all_inner_texts()
    expect(page.locator(".parcoords-line-layer, .parcoords").first).to_be_attached()
    row = table.locator("tbody tr").first.locator("th, td").all_inner_texts()
    units = {each["name"]: each["units"] for each in asked(showcase, f"searches/{NAME}/coverage")["groups"]}
    kept = told[0]["configuration"]["channels"]
    for name in units:
        if f"kept of {name}" in names:
            share = kept.get(name, units[name]) / units[name]
            assert float(row[names.index(f"kept of {name}")]) == pytest.approx(share, abs=1e-4)
    page.locator("details.axes summary").click()
    page.get_by_label("bits of linear").check()
    expect(table.locator("thead")).to_contain_text("bits of linear")
    assert "bits%2Flinear" in page.url
    found = asked(showcase, f"searches/{NAME}/knee", max_memory_bytes=5000)["candidate"]["id"]
    expect(page.locator(".frontier .shape-label").filter(has_text=f"knee {found}")).to_be_visible()


def test_a_running_search_grows_without_a_reload(tmp_path: Path, open_page: Open) -> None:
    with FrontierStore(f"sqlite:///{tmp_path}/fresh.db") as store, served(store, TINY) as url:
        body = {"target": "tiny", "name": "mine", "trials": 12, "false_elimination": 0}
        httpx2.post(f"{url}/api/v1/searches", json=body).raise_for_status()
        with open_page(url) as (page, _):
            page.goto("/searches/mine")
            expect(page.get_by_text("There is no candidate yet")).to_be_visible()
            expect(page.locator(".head .state")).to_have_text("queued")
            page.evaluate("window.same = true")
            with working(store, TINY):
                expect(page.locator(".head .state")).to_have_text("done")
            rows = asked(url, "searches/mine/candidates")
            front = {id for id, on in zip(rows["ids"], rows["on_frontier"], strict=True) if on}
            expect(page.get_by_text(f"{len(front)} frontier members are within the limits")).to_be_visible()
            assert set(traces(page)["frontier"]) == front
            found = asked(url, "searches/mine/select")["candidate"]["id"]
            expect_answer(page, found)
            assert page.evaluate("window.same")


def test_names_and_reasons_are_text(big: str, open_page: Open) -> None:
    with open_page(big) as (page, watch):
        page.goto(f"/searches/{quote(ODD, safe='')}")
        expect(page.get_by_role("heading", level=1)).to_have_text(ODD)
        record = asked(big, f"searches/{quote(ODD, safe='')}")
        failed = page.get_by_role("alert").filter(has_text="The search failed")
        expect(failed).to_have_text(f"The search failed: {record['message']}")
        expect(page.get_by_text(record["target"])).to_be_visible()
        expect(answer(page).get_by_role("status").first).to_contain_text("Candidate")
        watch.allow("404")
        page.goto("/searches/nobody")
        expect(page.get_by_role("alert")).to_contain_text("nobody")


def test_ten_thousand_candidates(big: str, open_page: Open) -> None:
    with open_page(big) as (page, _):
        page.goto("/searches/big")
        ready(page)
        assert page.evaluate(DRAWN) == 1
        rows = asked(big, "searches/big/candidates", limit=10_000)
        drawn = traces(page)
        assert len(drawn["dominated"]) + len(drawn["frontier"]) == len(rows["ids"])
        page.get_by_role("slider", name="memory at most").fill("250")
        size = parse_qs(urlsplit(page.url).query)["max_memory_bytes"][0]
        found = asked(big, "searches/big/select", max_memory_bytes=size)["candidate"]["id"]
        expect_answer(page, found)
        expect(page.locator(".frontier .shape-label").filter(has_text=f"answer {found}")).to_be_visible()
        # What the benchmark reads is written with the next frame.
        page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
        assert page.evaluate("performance.getEntriesByName('leanfront-answer').length") == 1


@pytest.mark.parametrize("options", [{"viewport": PHONE}, {"color_scheme": "dark"}], ids=["phone", "dark"])
def test_phones_and_the_dark(showcase: str, open_page: Open, options: dict[str, Any]) -> None:
    with open_page(showcase, **options) as (page, _):
        page.goto(f"{HERE}?max_memory_bytes=1&min_accuracy=0.9&parallel=1")
        ready(page)
        expect(page.locator(".frontier .main-svg").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = Axe().run(page)
        assert not found.violations_count, found.generate_report()
