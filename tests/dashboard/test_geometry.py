"""The geometry page: what is selected in one view is what the others show, and what the API's arrays say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from leanfront.core.storage import FrontierStore
from tests.dashboard.conftest import Open, Serve
from tests.dashboard.showcase import DATABASE, NAME
from tests.leanfront.filling import Fill

PATH = f"/searches/{NAME}/geometry"
MODEL = "lamp-0.9"
WAY = "contrast 3"


class Audit:
    """The audit as the API tells it.

    Args:
        url: of a server with the search `NAME`.
    """

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/v1/searches/{NAME}/audits/geometry"
        self.document = httpx2.get(self._url).json()["document"]
        self.models = [each["name"] for each in self.document["models"]]
        self.ways = [
            "clean" if each["corruption"] is None else f"{each['corruption']} {each['severity']}"
            for each in self.document["ways"]
        ]
        self.labels = self.array("labels")
        self.measures = self.array("measures").astype(float)
        self.predicted = self.array("predicted")

    def array(self, name: str) -> NDArray[Any]:
        rows: list[Any] = []
        offset: int | None = 0
        while offset is not None:
            page = httpx2.get(f"{self._url}/arrays/{name}", params={"offset": offset}).json()
            rows += page["rows"]
            offset = page["next"]
        return np.array(rows)

    def values(self, model: str, way: str, measure: str) -> NDArray[np.float64]:
        """Of all samples."""
        place = self.document["measures"].index(measure)
        found: NDArray[np.float64] = self.measures[self.models.index(model), self.ways.index(way), place]
        return found

    def answers(self, model: str, way: str) -> NDArray[Any]:
        found: NDArray[Any] = self.predicted[self.models.index(model), self.ways.index(way)]
        return found


@pytest.fixture(scope="module")
def audit(showcase: str) -> Audit:
    return Audit(showcase)


@pytest.fixture
def geometry(page: Page) -> Page:
    """The page with all charts drawn."""
    drawn(page, "")
    return page


def drawn(page: Page, query: str) -> None:
    page.goto(PATH + query)
    for view in ("similarity", "local", "classes", "density"):
        page.locator(f"#{view} .main-svg").first.wait_for()


def shown(page: Page) -> list[int]:
    """The samples whose cards are shown."""
    return [int(each.get_attribute("data-sample") or "") for each in page.locator("#samples li").all()]


def traces(page: Page, view: str) -> Any:
    return page.evaluate(
        "view => document.querySelector(`#${view} .plot`).data.map("
        "({x, y, name, customdata, text, marker, selectedpoints}) => "
        "({x, y, name, customdata, text, symbol: marker?.symbol, selected: selectedpoints}))",
        view,
    )


def test_a_cell_of_the_table_chooses_for_all_views(geometry: Page, audit: Audit) -> None:
    geometry.get_by_role("button", name=re.compile(f"^{MODEL}, {WAY}: accuracy")).click()
    expect(geometry.locator(".summary")).to_contain_text(f"A dense · B {MODEL} · {WAY}")
    expect(geometry.get_by_role("button", name=f"{MODEL} as model B")).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(geometry.get_by_label("Model B", exact=True)).to_have_value(str(audit.models.index(MODEL)))
    expect(geometry.locator("#confusion")).to_contain_text(f"Taken by B ({MODEL}) for, {WAY}")
    assert f"b={MODEL}" in geometry.url

    model, way = audit.models.index(MODEL), audit.ways.index(WAY)
    ring = next(each for each in traces(geometry, "similarity") if each["text"] == ["B"])
    assert [ring["x"][0], ring["y"][0]] == audit.document["similarity"]["ways"][way]["points"][model]
    points = {
        sample: (x, y)
        for each in traces(geometry, "local")
        if each["symbol"] and not each["symbol"].endswith("-open")
        for sample, x, y in zip(each["customdata"], each["x"], each["y"], strict=True)
    }
    expected = zip(audit.values(MODEL, WAY, "norm"), audit.values(MODEL, WAY, "angle"), strict=True)
    assert points == dict(enumerate(expected))
    line = next(each for each in traces(geometry, "classes") if each["name"] == f"B: {MODEL}")
    means = audit.array("class_means")[model, way, :, audit.document["measures"].index("margin")]
    assert line["y"] == means.tolist()


def test_accuracies_are_those_of_the_audit(geometry: Page, audit: Audit) -> None:
    told = [float(each.inner_text()) for each in geometry.locator("#evaluation tbody td button > span").all()]
    np.testing.assert_allclose(told, np.ravel(audit.document["accuracy"]), atol=5e-5)


def test_a_click_on_the_map_chooses_a_model(geometry: Page, audit: Audit) -> None:
    geometry.get_by_role("radio", name="A", exact=True).check()
    geometry.locator("#similarity").scroll_into_view_if_needed()
    place = geometry.evaluate(
        """place => {
          const shown = document.querySelector("#similarity .plot");
          const [x, y] = place;
          const { left, top } = shown.querySelector(".nsewdrag").getBoundingClientRect();
          return [left + shown._fullLayout.xaxis.d2p(x), top + shown._fullLayout.yaxis.d2p(y)];
        }""",
        audit.document["similarity"]["ways"][0]["points"][audit.models.index("l1-0.9")],
    )
    geometry.mouse.move(*place)
    geometry.mouse.click(*place)
    expect(geometry.locator(".summary")).to_contain_text("A l1-0.9 · B l1-0.5")


def test_brushing_selects_what_lies_in_the_box(geometry: Page, audit: Audit) -> None:
    area = geometry.locator("#local .nsewdrag")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    corners = [
        (box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in ((0.3, 0.3), (0.6, 0.7))
    ]
    geometry.mouse.move(*corners[0])
    geometry.mouse.down()
    geometry.mouse.move(*corners[1], steps=8)
    geometry.mouse.up()
    expect(geometry.locator(".count")).to_contain_text("selected")

    # The axis of the norm is logarithmic, and that of the angle goes up.
    across, up = geometry.evaluate(
        "() => { const { xaxis, yaxis } = document.querySelector('#local .plot')._fullLayout;"
        "return [xaxis.range, yaxis.range]; }"
    )
    norms = [10 ** (across[0] + (across[1] - across[0]) * share) for share in (0.3, 0.6)]
    angles = [up[0] + (up[1] - up[0]) * share for share in (0.3, 0.7)]
    inside = np.zeros(len(audit.labels), dtype=bool)
    for model in ("dense", "l1-0.5"):
        norm, angle = (audit.values(model, "clean", name) for name in ("norm", "angle"))
        inside |= (norms[0] < norm) & (norm < norms[1]) & (angles[0] < angle) & (angle < angles[1])
    expected = np.flatnonzero(inside).tolist()
    assert 0 < len(expected) < len(audit.labels)
    assert shown(geometry) == expected
    assert f"{len(expected)} of {len(audit.labels)} samples" in geometry.locator(".count").inner_text()
    dim = [each for each in traces(geometry, "local") if each["customdata"]]
    assert {each["customdata"][turn] for each in dim for turn in each["selected"]} == set(expected)


def test_a_cell_of_confusion_selects_its_samples(page: Page, audit: Audit) -> None:
    answers = audit.answers(MODEL, WAY)
    sample = int(np.flatnonzero(answers != audit.labels)[0])
    truth, answer = audit.labels[sample], answers[sample]
    expected = np.flatnonzero((audit.labels == truth) & (answers == answer)).tolist()
    drawn(page, f"?b={MODEL}&way={WAY}")
    cell = page.get_by_role("button", name=re.compile(f"^{truth} taken for {answer} by B:"))
    cell.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#samples li")).to_have_count(len(expected))
    assert shown(page) == expected
    expect(cell).to_be_focused()
    expect(cell).to_have_attribute("aria-pressed", "true")
    # All of the selected are taken for another class by this model.
    expect(page.get_by_role("button", name=f"{MODEL}, {WAY}: accuracy 0.0")).to_be_visible()

    page.reload()
    expect(page.locator("#samples li")).to_have_count(len(expected))
    assert shown(page) == expected
    expect(page.locator(".summary")).to_contain_text(f"B {MODEL} · {WAY}")
    page.go_back()
    expect(page.locator(".count")).to_have_text(f"All {len(audit.labels)} samples.")


def test_without_a_mouse(geometry: Page, audit: Audit) -> None:
    box = geometry.get_by_role("checkbox", name="3", exact=True)
    box.focus()
    geometry.keyboard.press("Space")
    expected = np.flatnonzero(audit.labels == 3).tolist()
    expect(geometry.locator("#samples li")).to_have_count(len(expected))
    assert shown(geometry) == expected
    expect(box).to_be_focused()

    geometry.get_by_text("Select samples by a range").focus()
    geometry.keyboard.press("Enter")
    norm = audit.values("l1-0.5", "clean", "norm")
    low, high = np.quantile(norm, [0.25, 0.75])
    form = geometry.locator(".controls form")
    form.get_by_label("Measure").select_option("norm")
    form.get_by_label("From").fill(str(low))
    form.get_by_label("To").fill(str(high))
    geometry.keyboard.press("Enter")
    expected = np.flatnonzero((low <= norm) & (norm <= high) & (audit.labels == 3)).tolist()
    expect(geometry.locator(".count")).to_contain_text(f"{len(expected)} of")
    assert shown(geometry) == expected

    geometry.get_by_role("button", name="Clear selection").first.focus()
    geometry.keyboard.press("Enter")
    expect(geometry.locator(".count")).to_have_text(f"All {len(audit.labels)} samples.")
    fragile = audit.document["lists"]["0.9"]["fragile"]
    ready = geometry.get_by_label("Ready selections")
    ready.select_option(
        label=ready.get_by_text(re.compile("fragile samples, pruned: ratio 0.9")).inner_text()
    )
    expect(geometry.locator("#samples li")).to_have_count(len(fragile))
    assert shown(geometry) == sorted(each["sample"] for each in fragile)


def test_attribution_and_images(page: Page, audit: Audit) -> None:
    own = audit.document["occlusion"]
    first, second = own["models"][0], own["models"][2]
    sample = own["samples"][0]
    drawn(page, f"?a={audit.models[first]}&b={audit.models[second]}&samples={sample}&measure=angle")
    maps = page.locator("#attribution .heat")
    expect(maps).to_have_count(2)
    changes = audit.array("occlusion").astype(float)
    measure = audit.document["measures"].index("angle")
    for shown_map, row in zip(maps.all(), (0, 2), strict=True):
        told = [
            float((each.text_content() or "").split(": ")[1]) for each in shown_map.locator("title").all()
        ]
        np.testing.assert_allclose(told, changes[row, 0, measure].ravel(), rtol=6e-3)
    images = page.locator("#samples img")
    expect(images).to_have_count(1)
    assert images.get_attribute("src") == audit.document["images"][str(sample)]
    others = next(each for each in range(len(audit.labels)) if each not in own["samples"])
    drawn(page, f"?samples={others}")
    page.get_by_role("button", name="Select those").click()
    assert shown(page) == sorted(own["samples"])
    # The audit keeps an image of each sample.
    assert set(audit.document["images"]) == {str(each) for each in range(len(audit.labels))}


def test_names_that_are_not_there_and_no_samples(page: Page, audit: Audit) -> None:
    drawn(page, "?a=gone&way=gone&measure=gone&samples=99999&classes=3")
    expect(page.locator(".summary")).to_contain_text("A dense · B l1-0.5 · clean · margin")
    expect(page.locator(".count")).to_contain_text(f"0 of {len(audit.labels)} samples")
    page.locator("#samples").get_by_role("button", name="Clear selection").click()
    expect(page.locator("#samples li")).to_have_count(min(48, len(audit.labels)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone(open_page: Open, showcase: str, scheme: str) -> None:
    with open_page(showcase, viewport={"width": 375, "height": 800}, color_scheme=scheme) as (page, _):
        drawn(page, f"?b={MODEL}&classes=3")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_a_search_without_the_audit_queues_it(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    with FrontierStore(f"sqlite:///{tmp_path / DATABASE}") as store:
        Fill.search(store, 12, "new", target="digits")
    with serve(tmp_path) as url, open_page(url) as (page, _):
        page.goto("/searches/new/geometry")
        with page.expect_response(lambda answer: answer.request.method == "POST") as heard:
            page.get_by_role("button", name="Audit now").click()
        expect(page.get_by_text("The audit is queued")).to_be_visible()
        expect(page.get_by_text("No worker for audits is running")).to_be_visible()
        job = httpx2.get(f"{url}/api/v1/jobs/{heard.value.json()['id']}").json()
        assert (job["kind"], job["search"], job["state"]) == ("audit", "new", "queued")
        assert heard.value.request.post_data_json == {"kinds": ["geometry"]}
        page.reload()
        expect(page.get_by_text("The audit is queued")).to_be_visible()
