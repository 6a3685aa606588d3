"""The audit pages: what an audit found, and having one made."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from leanfront.core.audit import KINDS
from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from tests.dashboard.browser import opened
from tests.dashboard.showcase import DATABASE
from tests.leanfront.filling import Fill
from tests.leanfront.runners import working

API = "/api/v1"
PAGE = "/searches/digits/audits"
ODD = "<b>odd & \"quoted\" 'name' %41?#é"
WORKER = "No worker for audits is running"


def figures_of(url: str, kind: str, of: str = "searches/digits") -> Any:
    return httpx2.get(f"{url}{API}/{of}/audits/{kind}/figures", timeout=60).json()


def pieces_of(found: Any, kind: str) -> list[Any]:
    return [piece for part in found["parts"] for piece in part["pieces"] if piece["type"] == kind]


def members(folder: Path) -> tuple[list[int], list[int]]:
    """Ids of frontier members that were audited, and of those that were not."""
    with FrontierStore(f"sqlite:///{folder / DATABASE}") as store:
        ids = [each.id for each in store.frontier("digits") if each.id is not None]
        audited = [each for each in ids if store.audits("digits", each, documents=False)]
    return audited, [each for each in ids if each not in audited]


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind(page: Page, showcase: str, kind: str) -> None:
    """Its words, all cells of its tables, and its figures, drawn when they are about to be seen."""
    found = figures_of(showcase, kind)
    page.goto(f"{PAGE}/{kind}")
    expect(page.locator("h1")).to_have_text(f"{found['title']}: search digits")
    expect(page.locator(".audit")).to_contain_text(found["reading"])
    expect(page.locator(".audit")).to_contain_text(f"Source: {found['source']}.")
    expect(page.locator(".kinds [aria-current]")).to_have_text(found["title"])
    tables = [table for part in found["parts"] for table in part["tables"]]
    for place, table in enumerate(tables):
        shown = page.locator(".audit table").nth(place)
        expect(shown.locator("caption")).to_have_text(table["title"])
        assert shown.locator("tbody tr").count() == len(table["rows"]) > 0
        assert shown.locator("tbody th, tbody td").all_inner_texts() == [
            re.sub(r"\s+", " ", cell).strip() for row in table["rows"] for cell in row
        ]
    figures = [each for each in pieces_of(found, "figure") if not each["fold"]]
    places = page.locator(".audit > .figures .plot")
    expect(places).to_have_count(len(figures))
    for plot, figure in ((places.first, figures[0]), (places.last, figures[-1])):
        plot.scroll_into_view_if_needed()
        expect(plot).to_have_attribute("aria-label", figure["alt"])
        expect(plot.locator(".main-svg").first).to_be_visible()
    assert all(each["alt"] for each in figures)


def test_a_table_is_sorted_by_its_numbers(page: Page) -> None:
    page.goto(f"{PAGE}/calibration")
    page.get_by_role("button", name="ECE", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("ECE")
    shown = [float(text) for text in page.locator(".audit tbody td:nth-child(2)").all_inner_texts()]
    assert shown == sorted(shown)
    assert len(set(shown)) > 1


def test_a_figure_is_drawn_when_it_is_about_to_be_seen(page: Page, showcase: str) -> None:
    count = sum(not each["fold"] for each in pieces_of(figures_of(showcase, "limits"), "figure"))
    page.goto(f"{PAGE}/limits")
    places = page.locator(".audit > .figures .plot")
    expect(places).to_have_count(count)
    assert page.locator(".js-plotly-plot").count() == 0
    places.first.scroll_into_view_if_needed()
    expect(places.first).to_have_class(re.compile("js-plotly-plot"))
    assert 0 < page.locator(".js-plotly-plot").count() < count


def test_a_gallery_has_its_images_and_what_they_are(page: Page, showcase: str) -> None:
    galleries = [each for each in pieces_of(figures_of(showcase, "exemplars"), "gallery") if each["cards"]]
    page.goto(f"{PAGE}/exemplars")
    summaries = page.locator(".audit > details > summary")
    expect(summaries.first).to_be_visible()
    assert page.locator(".gallery img").count() == 0
    gallery = galleries[0]
    summaries.get_by_text(gallery["fold"], exact=True).click()
    images = page.locator(".gallery img")
    expect(images).to_have_count(len(gallery["cards"]))
    for place, card in enumerate(gallery["cards"]):
        expect(images.nth(place)).to_have_attribute("src", card["image"])
        expect(images.nth(place)).to_have_attribute("alt", card["alt"])
        shown = page.locator(".gallery li").nth(place)
        assert shown.locator("dt, dd").all_inner_texts() == [text for row in card["rows"] for text in row]
    assert images.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8


def test_all_kinds_and_the_ways_to_them(page: Page, showcase: str) -> None:
    page.goto(PAGE)
    titles = [each["title"] for each in httpx2.get(f"{showcase}{API}/audits/kinds").json()]
    expect(page.locator(".panels h2")).to_have_text(titles)
    assert page.locator(".kinds small").count() == len(KINDS)
    expect(page.locator(".kinds")).not_to_contain_text("not made yet")
    expect(page.get_by_role("link", name="Geometry in linked views")).to_have_attribute(
        "href", "/searches/digits/geometry"
    )
    page.get_by_role("link", name="What Calibration found").click()
    expect(page).to_have_url(f"{showcase}{PAGE}/calibration")
    # Keys do as well: from the link of a kind to the page of the next.
    page.locator(".kinds a", has_text="Robustness").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{showcase}{PAGE}/robustness")
    expect(page.locator("h1")).to_have_text("Robustness: search digits")


def test_a_candidates_own_audits(page: Page, showcase: str, showcase_folder: Path) -> None:
    (first, *_), _ = members(showcase_folder)
    page.goto(f"{PAGE}/calibration")
    page.get_by_role("link", name=f"candidate {first}", exact=True).click()
    expect(page).to_have_url(f"{showcase}/candidates/{first}/audits/calibration")
    expect(page.locator("h1")).to_have_text(f"Calibration: candidate {first}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    expect(page.get_by_role("link", name="The same for the whole search")).to_have_attribute(
        "href", f"{PAGE}/calibration"
    )


def test_an_audit_as_a_file(page: Page, showcase: str) -> None:
    page.goto(f"{PAGE}/calibration")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download JSON").click()
    assert waiting.value.suggested_filename == "digits-calibration.json"
    found = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert found == httpx2.get(f"{showcase}{API}{PAGE}/calibration").json()


def test_having_an_audit_made(
    browser: Browser, serve: Any, showcase_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(showcase_folder, tmp_path / "own"))
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
    _, (candidate, *_) = members(folder)
    with serve(folder) as url, opened(browser, url) as (page, _):
        page.goto(f"/candidates/{candidate}/audits/calibration")
        expect(page.locator(".audit")).to_contain_text(KINDS["calibration"].reading)
        page.get_by_text("Options").click()
        page.get_by_label("pruning").check()
        page.get_by_label("Split").select_option("validation")
        page.get_by_role("button", name="Audit now").click()
        expect(page.locator(".jobs")).to_contain_text("Calibration: queued")
        expect(page.locator(".jobs")).to_contain_text(WORKER)
        # It is followed over a reload, too.
        page.reload()
        expect(page.locator(".jobs")).to_contain_text(WORKER)
        with FrontierStore(f"sqlite:///{folder / DATABASE}") as store, working(store, Registry()):
            expect(page.locator(".audit table")).to_be_visible(timeout=120_000)
        expect(page.locator(".jobs")).to_be_empty()
        rows = page.locator(".audit tbody th").all_inner_texts()
        assert rows[:2] == ["dense", f"candidate {candidate}"]
        expect(page.locator("caption")).to_contain_text("validation samples")
        told = httpx2.get(f"{url}{API}/candidates/{candidate}/audits/calibration").json()["parameters"]
        assert (told["levels"], told["split"]) == (["pruning"], "validation")


def test_an_audit_that_is_refused_or_fails(browser: Browser, serve: Any, tmp_path: Path) -> None:
    """Of a search whose names are markup, and whose target nobody can make."""
    with FrontierStore(f"sqlite:///{tmp_path / DATABASE}") as store:
        Fill.search(store, 3, "other")
        Fill.search(store, 3, ODD, target="<img src=x onerror=alert(1)>")
    with serve(tmp_path) as url, opened(browser, url) as (page, watch):
        page.goto(f"/searches/{quote(ODD, safe='')}/audits")
        expect(page.locator("h1")).to_have_text(f"Audits of search {ODD}")
        expect(page.get_by_role("button", name="Make the missing audits")).to_be_visible()
        page.locator(".kinds a", has_text="Calibration").click()
        expect(page.locator("h1")).to_have_text(f"Calibration: search {ODD}")
        page.get_by_text("Options").click()
        watch.allow("status of 422")
        page.get_by_label("Candidates").fill("1")
        page.get_by_role("button", name="Audit now").click()
        expect(page.get_by_role("alert")).to_contain_text("candidate 1 is of search 'other'")
        page.get_by_label("Candidates").fill("")
        page.get_by_role("button", name="Audit now").click()
        expect(page.get_by_role("alert")).to_have_count(0)
        with FrontierStore(f"sqlite:///{tmp_path / DATABASE}") as store, working(store, Registry()):
            expect(page.locator(".jobs")).to_contain_text("Calibration: failed")
        assert page.locator("b, img, script:not([src])").count() == 0


def test_what_is_not_there(page: Page, browser: Browser, showcase: str) -> None:
    page.goto(f"{PAGE}/beauty")
    expect(page.locator(".empty")).to_contain_text("There is no kind of audit “beauty”")
    with opened(browser, showcase) as (other, watch):
        watch.allow("404")
        other.goto("/searches/nobody/audits")
        expect(other.get_by_role("alert")).to_contain_text("nobody")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(browser: Browser, showcase: str, scheme: Any) -> None:
    """Nothing is wider than the page, but tables that scroll by themselves."""
    phone = {"width": 390, "height": 844}
    with opened(browser, showcase, viewport=phone, color_scheme=scheme) as (page, _):
        for path in (PAGE, f"{PAGE}/robustness"):
            page.goto(path)
            expect(page.locator(".audit :is(h2, caption)").first).to_be_visible()
            assert page.evaluate("() => document.documentElement.scrollWidth") == 390
