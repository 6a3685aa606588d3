"""Candidates side by side: what is shown is what the API says of each."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from tests.dashboard.browser import opened
from tests.dashboard.showcase import DATABASE, ODD
from tests.leanfront.filling import Fill
from tests.leanfront.runners import working

API = "/api/v1"
BEST, CLOSE = "★", "≈"
KINDS = ("classes", "calibration", "robustness")


def get(url: str, path: str) -> Any:
    answer = httpx2.get(f"{url}{API}/{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def members(url: str) -> tuple[list[int], list[int]]:
    """Ids of frontier members that were audited, and of those that were not."""
    ids = [each["id"] for each in get(url, "searches/digits/frontier?limit=100")["candidates"]]
    audited = [each for each in ids if get(url, f"candidates/{each}/audits")]
    return audited, [each for each in ids if each not in audited]


def rows(page: Page, caption: str) -> dict[str, list[str]]:
    """First cell of each row of a table -> the others."""
    table = page.get_by_role("table", name=caption, exact=True)
    expect(table).to_be_visible()
    found = [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]
    return {first: rest for first, *rest in found}


def drawn(place: Locator) -> dict[str, Any]:
    """What a chart draws, name -> its trace."""
    place.scroll_into_view_if_needed()
    expect(place.locator(".main-svg").first).to_be_visible()
    read = "place => place.data.map(each => ({name: each.name, x: [...each.x], y: [...each.y], text: each.text}))"
    return {each["name"]: each for each in place.evaluate(read)}


def chosen(page: Page) -> Locator:
    return page.locator(".chosen a").filter(has_text=re.compile(r"^candidate \d+$"))


def expected_marks(row: dict[str, Any], less: bool) -> list[str]:
    """Whom a row marks, worked out again: the best where no other's interval reaches its own."""
    ends = [
        (value, value) if low is None else (low, high)
        for value, low, high in zip(row["value"], row["low"], row["high"], strict=True)
    ]
    best = (min if less else max)(range(len(ends)), key=lambda place: row["value"][place])
    near = [place for place, (low, high) in enumerate(ends) if low <= ends[best][1] and ends[best][0] <= high]
    return [(BEST if len(near) == 1 else CLOSE) if place in near else "" for place in range(len(ends))]


def test_two(page: Page, showcase: str) -> None:
    """Measurements with the best of each row, choices, and layers."""
    one, two = members(showcase)[0][:2]
    found = get(showcase, f"compare?ids={one},{two}")
    page.goto(f"/compare?ids={one},{two}")
    shown = rows(page, "Costs") | rows(page, "On the test split (95% intervals)")
    names = {"memory": "memory_bytes", "MACs": "macs", "accuracy": "accuracy", "PIE rate": "pie_rate"}
    for name, key in names.items():
        row = next(
            each for each in found["measurements"] if each["name"] == key and each["split"] in (None, "test")
        )
        marks = [next((each for each in (BEST, CLOSE) if each in cell), "") for cell in shown[name]]
        assert marks == expected_marks(row, less=key != "accuracy"), name
    assert page.locator("strong.best").count() > 0
    # Without an interval nobody can tell whether a difference is one.
    assert not any(each in "".join(shown["ECE"]) for each in (BEST, CLOSE))
    expect(page.locator(".of-choices tbody tr")).to_have_count(len(found["choices"]))

    for measure in ("bytes", "macs"):
        bars = drawn(page.locator(f'[data-measure="{measure}"] .plot'))
        for id in (one, two):
            layers = get(showcase, f"candidates/{id}/layers")["layers"]
            assert bars[f"candidate {id}"]["x"] == [each[measure] for each in layers]
    page.get_by_role("link", name=f"candidate {two}", exact=True).first.click()
    expect(page.locator("h1")).to_have_text(f"Candidate {two}")


def test_audits_of_two(page: Page, showcase: str) -> None:
    ids = members(showcase)[0][:2]
    page.goto(f"/compare?ids={ids[0]},{ids[1]}")
    found = {
        (id, kind): get(showcase, f"candidates/{id}/audits/{kind}")["document"]
        for id in ids
        for kind in KINDS
    }
    bars = drawn(page.locator(".of-classes .plot"))
    for id in ids:
        groups = {str(each["name"]): each for each in found[id, "classes"]["groups"]}
        trace = bars[f"candidate {id}"]
        assert trace["y"] == [groups[name]["absolute_points"] for name in trace["x"]]
        starred = {name for name, text in zip(trace["x"], trace["text"], strict=True) if text == "*"}
        assert starred == {name for name, each in groups.items() if each["status"] == "significant"}
    scores = rows(page, "Scores of calibration")
    after = drawn(page.locator(".of-calibration .plot").nth(1))
    errors = rows(page, "mCE: C-like corruptions")
    flips = drawn(page.locator(".of-robustness .plot").nth(1))
    for id in ids:
        own = found[id, "calibration"]
        ece = [own["ece"], own["ece_before"], own["ece_after"]]
        cells = scores[f"candidate {id}"]
        assert [float(cells[place]) for place in (0, 4, 5)] == pytest.approx(ece, abs=5e-5)
        bins = [each for each in own["reliability_after"]["bins"] if each["count"]]
        assert after[f"candidate {id}"]["y"] == [each["accuracy"] for each in bins]
        robust = found[id, "robustness"]
        assert float(errors[f"candidate {id}"][0].split()[0]) == pytest.approx(
            robust["c_like"]["mce"], abs=5e-5
        )
        assert flips[f"candidate {id}"]["y"] == [each["value"] for each in robust["stability"]["flips"]]


def test_choosing(page: Page, showcase: str) -> None:
    """By their ids: four can be compared, five are refused in words; what is compared is in the address."""
    audited, others = members(showcase)
    ids = [*audited, *others][:5]
    page.goto("/compare")
    expect(page.locator(".empty").first).to_contain_text("Choose two or more candidates")
    field = page.get_by_label("Id of a candidate")
    for id in ids[:4]:
        field.fill(str(id))
        field.press("Enter")
        expect(chosen(page).last).to_have_text(f"candidate {id}")
    expect(page).to_have_url(re.compile(re.escape(f"ids={'%2C'.join(map(str, ids[:4]))}")))
    # The address changes a moment before the tables do.
    first = page.get_by_role("table", name="Costs", exact=True).locator("tbody tr").first
    expect(first.locator("td")).to_have_count(4)
    field.fill(str(ids[4]))
    field.press("Enter")
    expect(page.locator("#said")).to_contain_text("At most 4 candidates")
    expect(chosen(page)).to_have_count(4)
    page.get_by_role("button", name=f"Remove candidate {ids[1]}").click()
    expect(chosen(page)).to_have_text([f"candidate {each}" for each in (ids[0], ids[2], ids[3])])
    page.go_back()
    expect(chosen(page)).to_have_count(4)
    page.goto(f"/compare?ids={','.join(map(str, ids))}")
    expect(page.get_by_role("alert")).to_contain_text("5 candidates are named, but at most 4 can be compared")
    expect(chosen(page)).to_have_text([f"candidate {each}" for each in ids[:4]])
    page.goto("/compare?ids=1,x")
    expect(page.get_by_role("alert")).to_contain_text("“x” is not a candidate id")


def test_one_that_is_not_there(browser: Browser, showcase: str) -> None:
    with opened(browser, showcase) as (page, watch):
        watch.allow("404")
        page.goto("/compare?ids=1,999999,2")
        expect(page.locator(".chosen")).to_contain_text("There is no candidate 999999 in this database.")
        assert len(next(iter(rows(page, "Costs").values()))) == 2


def test_a_missing_audit_is_made(
    browser: Browser, serve: Any, showcase_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(showcase_folder, tmp_path / "own"))
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
    with serve(folder) as url, opened(browser, url) as (page, _):
        audited, others = members(url)
        page.goto(f"/compare?ids={audited[0]},{others[0]}")
        missing = page.locator(".of-calibration .missing")
        expect(missing).to_contain_text(f"candidate {others[0]} has no audit of this kind yet.")
        assert f"candidate {others[0]}" not in rows(page, "Scores of calibration")
        missing.get_by_role("button").click()
        expect(missing).to_contain_text("queued")
        with FrontierStore(f"sqlite:///{folder / DATABASE}") as store, working(store, Registry()):
            expect(missing).to_have_count(0, timeout=120_000)
            found = get(url, f"candidates/{others[0]}/audits/calibration")["document"]
            cells = rows(page, "Scores of calibration")[f"candidate {others[0]}"]
            assert float(cells[0]) == pytest.approx(found["ece"], abs=5e-5)


def test_of_several_searches(browser: Browser, serve: Any, tmp_path: Path) -> None:
    """Names that look like markup are text; of different targets nobody is called the best."""
    with FrontierStore(f"sqlite:///{tmp_path / DATABASE}") as store:
        Fill.search(store, 3, "plain")
        Fill.search(store, 3, ODD, fingerprint="e" * 64)
    with serve(tmp_path) as url, opened(browser, url) as (page, _):
        page.goto("/compare?ids=1,4")
        expect(page.locator(".chosen li").nth(0)).to_contain_text("candidate 1 of plain")
        expect(page.locator(".chosen li").nth(1)).to_contain_text(f"candidate 4 of {ODD}")
        expect(page.get_by_text("They belong to searches of different targets")).to_be_visible()
        assert not any(BEST in cell for row in rows(page, "Costs").values() for cell in row)
        assert page.locator("main b, main img").count() == 0
        page.goto("/compare?ids=1,2")
        assert any(BEST in cell for row in rows(page, "Costs").values() for cell in row)


def test_on_a_phone(browser: Browser, showcase: str) -> None:
    audited, others = members(showcase)
    size = {"width": 375, "height": 800}
    with opened(browser, showcase, viewport=size, color_scheme="dark") as (page, _):
        page.goto(f"/compare?ids={','.join(map(str, [*audited, *others][:4]))}")
        drawn(page.locator(".of-robustness .plot").first)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
