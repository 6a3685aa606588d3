"""The candidate's page: its figures are the API's, its file is the one the API tells of, its work is followed."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from tests.dashboard.browser import opened
from tests.dashboard.showcase import DATABASE, ODD
from tests.leanfront.runners import working

API = "/api/v1"
MINUS, TIMES, NONE = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"


def get(url: str, path: str, **parameters: Any) -> Any:
    answer = httpx2.get(f"{url}{API}/{path}", params=parameters or None, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def candidates(url: str, search: str = "digits", **wanted: Any) -> list[int]:
    """Ids of a search's candidates whose columns (`states`, `on_frontier`) are as wanted."""
    found = get(url, f"searches/{search}/candidates", limit=10000)
    rows = zip(found["ids"], *(found[name] for name in wanted), strict=True)
    return [row[0] for row in rows if row[1:] == tuple(wanted.values())]


def recovered(url: str) -> dict[str, Any]:
    """A frontier member that came of a recovery: there is most to say of it."""
    members = get(url, "searches/digits/frontier", limit=100)["candidates"]
    found: dict[str, Any] = next(each for each in members if each["parent"] is not None)
    return found


def cells(table: Locator) -> list[list[str]]:
    return [row.locator("th, td").all_inner_texts() for row in table.locator("tbody tr").all()]


def named(page: Page, caption: str) -> Locator:
    return page.get_by_role("table", name=caption, exact=True)


def traces(page: Page, measure: str) -> dict[str, Any]:
    """What a chart of layers draws, name -> its trace."""
    place = page.locator(f'[data-measure="{measure}"] .plot')
    place.scroll_into_view_if_needed()
    expect(place.locator(".main-svg").first).to_be_visible()
    read = "place => place.data.map(each => ({name: each.name, x: [...each.x], y: [...each.y]}))"
    return {each["name"]: each for each in place.evaluate(read)}


def test_what_it_is(page: Page, showcase: str) -> None:
    """Its measurements, beside those of dense, and the ways from here."""
    own = recovered(showcase)
    page.goto(f"/candidates/{own['id']}")
    expect(page.locator("h1")).to_have_text(f"Candidate {own['id']}")
    expect(page.locator(".trail a")).to_have_text(["Searches", "digits"])
    expect(page.locator(".about")).to_contain_text("on it: no stored candidate dominates it")
    expect(named(page, "Costs")).to_be_visible()
    search = get(showcase, "searches/digits")
    dense = {(each["name"], each["split"]): each["value"] for each in search["dense"]}
    rows = {row[0]: row for row in cells(named(page, "On the test split"))}
    accuracy = next(m for m in own["measurements"] if (m["name"], m["split"]) == ("accuracy", "test"))
    _, value, reference, against, samples, mark = rows["accuracy"]
    shown = [float(each) for each in re.findall(r"[\d.]+", value)]
    assert shown == pytest.approx([accuracy["value"], accuracy["low"], accuracy["high"]], abs=5e-5)
    assert float(reference) == pytest.approx(dense["accuracy", "test"], abs=5e-5)
    lost = 100 * (accuracy["value"] - dense["accuracy", "test"])
    told = float(against.replace(MINUS, "-").removesuffix(" points"))
    assert told == pytest.approx(lost, rel=0.01)
    assert (samples, mark) == (str(accuracy["count"]), "not verified")
    memory = next(row for row in cells(named(page, "Costs")) if row[0] == "memory")
    times = dense["memory_bytes", None] / own["memory_bytes"]
    assert float(memory[3].removesuffix(f"{TIMES} less")) == pytest.approx(times, rel=0.01)
    expect(page.get_by_role("link", name=f"candidate {own['parent']}", exact=True)).to_be_visible()
    page.goto(f"/candidates/{own['parent']}")
    expect(page.locator("#recovery li")).to_contain_text([f"candidate {own['id']}: +"])


def test_layers(page: Page, showcase: str) -> None:
    """Bars are the API's, and with what is in no layer they sum to the whole."""
    own = recovered(showcase)
    found = get(showcase, f"candidates/{own['id']}/layers")
    page.goto(f"/candidates/{own['id']}")
    for measure, whole, rest in (
        ("bytes", found["memory_bytes"], found["other_bytes"]),
        ("macs", found["macs"], found["other_macs"]),
    ):
        drawn = traces(page, measure)
        own_bars = drawn[f"candidate {own['id']}"]
        assert own_bars["y"] == [each["name"] for each in found["layers"]]
        assert own_bars["x"] == [each[measure] for each in found["layers"]]
        assert sum(own_bars["x"]) + rest == whole
        assert drawn["dense"]["x"] == [each[f"dense_{measure}"] for each in found["layers"]]
    kept = traces(page, "kept")[f"candidate {own['id']}"]["x"]
    assert kept == [each["outputs"] for each in found["layers"]]
    rows = cells(named(page, "Every layer"))
    assert [row[0] for row in rows] == [
        *(each["name"] for each in found["layers"]),
        "outside of layers",
        "all",
    ]
    assert [row[3] for row in rows[:-2]] == [
        f"{each['outputs']} of {each['dense_outputs']}" for each in found["layers"]
    ]
    page.get_by_label("logarithmic axes").check()
    expect(page).to_have_url(re.compile(r"\?log=1$"))
    page.reload()
    expect(page.get_by_label("logarithmic axes")).to_be_checked()
    place = page.locator('[data-measure="bytes"] .plot')
    place.scroll_into_view_if_needed()
    expect(place.locator(".main-svg").first).to_be_visible()
    assert place.evaluate("place => place.layout.xaxis.type") == "log"


def test_neighbours(page: Page, showcase: str) -> None:
    own = recovered(showcase)
    found = get(showcase, f"candidates/{own['id']}/neighbours")
    steps = [step for side in ("better", "cheaper") for step in found[side].values() if step]
    page.goto(f"/candidates/{own['id']}")
    lines = page.locator(".neighbours li")
    expect(lines).to_have_count(len(steps))
    for step, line in zip(steps, lines.all_inner_texts(), strict=True):
        assert line.endswith(f"candidate {step['candidate']['id']}")
        points = re.search(r"([\d.]+) point", line)
        assert points is not None
        assert float(points[1]) == pytest.approx(100 * abs(step["accuracy"]), rel=0.01)
        assert ("less" in line.partition(":")[0]) == (step["cost"] < 0)
    lines.first.locator("a").click()
    expect(page.locator("h1")).to_have_text(f"Candidate {steps[0]['candidate']['id']}")


def test_taking_the_file(page: Page, showcase: str) -> None:
    """What the browser saves has the SHA-256 that the API tells, and the page says so."""
    own = recovered(showcase)
    head = httpx2.head(f"{showcase}{API}/candidates/{own['id']}/artifact")
    page.goto(f"/candidates/{own['id']}")
    row = page.locator('[data-format="safetensors"]')
    digest = head.headers["etag"].strip('"')
    expect(row).to_contain_text(digest)
    expect(row).to_contain_text(f"{head.headers['content-length']} bytes")
    with page.expect_download() as begun:
        row.get_by_role("button", name="Download safetensors").click()
    content = Path(begun.value.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert begun.value.suggested_filename == f"digits-{own['id']}.safetensors"
    expect(row.get_by_role("status")).to_have_text(f"✓ digits-{own['id']}.safetensors: SHA-256 matches")


def test_a_file_that_arrives_damaged_is_not_saved(page: Page, showcase: str) -> None:
    own = recovered(showcase)

    def damage(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=b"x" + answer.body()[1:])

    page.route("**/artifact?format=safetensors", damage)
    saved: list[Any] = []
    page.on("download", lambda each: saved.append(each))
    page.goto(f"/candidates/{own['id']}")
    page.get_by_role("button", name="Download safetensors").click()
    row = page.locator('[data-format="safetensors"]')
    expect(row.get_by_role("status")).to_contain_text("is damaged")
    assert not saved


def test_work_is_queued_and_followed(
    browser: Browser, serve: Any, showcase_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verifying a candidate, having its ONNX file made, recovering it: by a worker that starts meanwhile."""
    folder = Path(shutil.copytree(showcase_folder, tmp_path / "own"))
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(folder / "artifacts"))
    with serve(folder) as url, opened(browser, url) as (page, _):
        own = recovered(url)
        page.goto(f"/candidates/{own['id']}")
        page.get_by_role("button", name="Verify now").click()
        told = page.locator(".verification [role=status]")
        expect(told).to_contain_text("queued")
        expect(told).to_contain_text("No worker for this is running")
        with FrontierStore(f"sqlite:///{folder / DATABASE}") as store, working(store, Registry()):
            expect(page.locator(".verification")).to_contain_text("All", timeout=120_000)
            found = get(url, f"candidates/{own['id']}/verification")
            assert found["ok"]
            words = f"✓ All {len(found['claims'])} claims hold in its file."
            expect(page.locator(".verification")).to_contain_text(words)
            marks = [row[-1] for row in cells(named(page, "Costs"))]
            assert "✓ found again" in marks
            assert "not verified" not in marks

            row = page.locator('[data-format="onnx"]')
            row.get_by_role("button", name="Make onnx").click()
            take = row.get_by_role("button", name="Download onnx")
            expect(take).to_be_visible(timeout=120_000)
            with page.expect_download() as begun:
                take.click()
            content = Path(begun.value.path()).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            listed = {each["format"]: each for each in get(url, f"candidates/{own['id']}/artifacts")}
            assert (listed["onnx"]["sha256"], listed["onnx"]["bytes"]) == (digest, len(content))
            expect(row).to_contain_text("SHA-256 matches")

            before = get(url, f"candidates/{own['id']}/recoveries")
            page.get_by_label("Epochs of training").fill("2")
            page.get_by_role("button", name="Recover").click()
            expect(page.locator("#recovery li")).to_have_count(len(before) + 1, timeout=120_000)
            made = get(url, f"candidates/{own['id']}/recoveries")[-1]
            assert made["configuration"]["recovery"][-1]["epochs"] == 2


def test_one_that_failed(page: Page, showcase: str) -> None:
    """Why, as text; and no button for what cannot be done."""
    failed = candidates(showcase, states="failed")[0]
    own = get(showcase, f"candidates/{failed}")
    page.goto(f"/candidates/{failed}")
    expect(page.locator(".reason")).to_have_text(own["reason"])
    expect(page.locator("#files")).to_contain_text("There is none: the candidate failed.")
    expect(page.locator("#audits")).to_contain_text("It is failed: only complete candidates are audited.")
    for name in ("Verify now", "Make onnx", "Recover", "Audit now"):
        assert page.get_by_role("button", name=name).count() == 0
    assert page.locator("#neighbours").count() == 0


def test_audits_are_linked(page: Page, showcase: str) -> None:
    members = candidates(showcase, on_frontier=True)
    audited = next(each for each in members if get(showcase, f"candidates/{each}/audits"))
    kinds = {each["kind"] for each in get(showcase, f"candidates/{audited}/audits")}
    page.goto(f"/candidates/{audited}")
    links = page.locator(".audits-made a")
    expect(links).to_have_count(len(kinds))
    assert {link.get_attribute("href") for link in links.all()} == {
        f"/candidates/{audited}/audits/{kind}" for kind in kinds
    }


def test_no_such_candidate(browser: Browser, showcase: str) -> None:
    with opened(browser, showcase) as (page, watch):
        watch.allow("404")
        for id in ("999999", "x<b>"):
            page.goto(f"/candidates/{id.replace('<', '%3C').replace('>', '%3E')}")
            expect(page.locator(".empty")).to_contain_text(f"There is no candidate {id} in this database.")


def test_odd_names_are_text(browser: Browser, big: str) -> None:
    """Of a search that is named like markup, stored by an earlier release, with a claim that does not hold."""
    id = candidates(big, quote(ODD, safe=""))[0]
    claims = get(big, f"candidates/{id}/verification")["claims"]
    wrong = sum(not each["ok"] for each in claims)
    assert wrong > 0
    with opened(browser, big) as (page, _):
        page.goto(f"/candidates/{id}")
        expect(page.locator(".trail a").nth(1)).to_have_text(ODD)
        expect(page.locator(".verification")).to_contain_text(
            f"✗ {wrong} of {len(claims)} claims do not hold."
        )
        expect(named(page, "Every layer").locator("tbody tr").first).to_contain_text(NONE)
        assert page.locator("main b, main img").count() == 0
        page.locator(".trail a").nth(1).click()
        expect(page.locator("h1")).to_contain_text(ODD)


def test_on_a_phone(browser: Browser, showcase: str) -> None:
    own = recovered(showcase)
    size = {"width": 375, "height": 800}
    with opened(browser, showcase, viewport=size, color_scheme="dark") as (page, _):
        page.goto(f"/candidates/{own['id']}")
        traces(page, "loss")
        expect(page.locator(".audits-made li").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_by_keyboard(page: Page, showcase: str) -> None:
    """Into the comparison and to it, without a mouse."""
    own, other = candidates(showcase, on_frontier=True)[:2]
    for id in (own, other):
        page.goto(f"/candidates/{id}")
        control = page.get_by_role("button", name="Add to comparison")
        control.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="In the comparison")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Compare candidates")
    expect(page.locator(".chosen a").filter(has_text="candidate")).to_have_count(2)
