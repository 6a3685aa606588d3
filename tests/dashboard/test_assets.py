"""What the server sends of the dashboard: pages, assets, their headers; and what our scripts may not hold."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib import resources
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page as Shown
from playwright.sync_api import expect

from leanfront.core.search import ENDED, STATES
from leanfront.http.pages import PAGES, POLICY, Page, assets, imported, modules, shell

ROOT = Path(str(resources.files("leanfront.dashboard")))
SCRIPTS = sorted(ROOT.glob("js/**/*.js"))
STYLES = sorted(ROOT.glob("style/*.css"))
FORBIDDEN = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "https:",
)
PLOTLY = "4ac841837b31c1bfd2ab140e3a248ddcc6c2106978fbf2c1c18a7aada930a37a"
"""SHA-256 of plotly.js's strict bundle 4.1.1, as its makers publish it."""


def test_pages(showcase: str) -> None:
    for path, page in PAGES.items():
        answer = httpx2.get(showcase + path.format(name="x", kind="classes", id=1))
        assert answer.status_code == 200
        assert f"<title>{page.title} · leanfront</title>" in answer.text
        assert f'src="/assets/js/{page.folder}/page.js"' in answer.text
        assert "$" not in answer.text
        assert '<link rel="modulepreload" href="/assets/js/api.js">' in answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_policy_allows_neither_inline_nor_eval() -> None:
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; ")


def test_assets_are_sent_once(showcase: str) -> None:
    with httpx2.Client(base_url=showcase) as client:
        for path in assets():
            first = client.get(f"/assets/{path}")
            assert first.status_code == 200
            again = client.get(f"/assets/{path}", headers={"If-None-Match": first.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            unpacked = client.get(f"/assets/{path}", headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in unpacked.headers
            assert unpacked.content == first.content
        kinds = {
            path.rpartition(".")[2]: client.get(f"/assets/{path}").headers["content-type"]
            for path in assets()
        }
        assert kinds == {
            "js": "text/javascript; charset=utf-8",
            "css": "text/css; charset=utf-8",
            "svg": "image/svg+xml",
        }
        missing = client.get("/assets/../pyproject.toml")
        assert missing.status_code == 404
        assert client.get("/assets/js/%2e%2e/__init__.py").status_code == 404
        assert client.post("/").status_code == 405


def test_all_that_pages_name_is_there() -> None:
    named = {
        found
        for page in PAGES.values()
        for found in re.findall(r'(?:src|href)="/assets/([^"]+)"', shell(page).plain.decode())
    }
    named |= {found for script in SCRIPTS for found in re.findall(r'"/assets/([^"]+)"', script.read_text())}
    named |= {
        path_of((script.parent / found).resolve())
        for script in SCRIPTS
        for found in re.findall(r'(?:from|import\(?) ?"(\.[^"]+)"', script.read_text())
    }
    assert {"js/explorer/page.js", "js/explorer/chart.js", "js/dom.js"} <= named
    assert "swagger/swagger-ui.css" in named
    assert named <= set(assets())


def path_of(script: Path) -> str:
    return script.relative_to(ROOT.resolve()).as_posix()


def test_every_module_is_on_a_page() -> None:
    started = {path for page in PAGES.values() for path in modules(f"js/{page.folder}/page.js")}
    # It runs before the modules, so that a chosen theme does not flash.
    assert started | {"js/theme.js"} == {path_of(script.resolve()) for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=path_of)
def test_modules_import_what_is_shared_or_of_their_page(script: Path) -> None:
    folder = path_of(script.parent)
    for other in imported(path_of(script)):
        assert other.rpartition("/")[0] in ("js", folder), other


@pytest.mark.parametrize("script", SCRIPTS, ids=path_of)
def test_scripts_make_no_markup_of_text(script: Path) -> None:
    text = script.read_text()
    for forbidden in FORBIDDEN:
        assert forbidden not in text
    assert text.count("\n") < 500


@pytest.mark.parametrize("page", dict.fromkeys(PAGES.values()), ids=lambda page: page.folder)
def test_pages_hold_nothing_inline(page: Page) -> None:
    text = shell(page).plain.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", text)
    assert 'lang="en"' in text


def test_states_are_those_of_the_store() -> None:
    text = (ROOT / "js" / "jobs.js").read_text()
    listed = {
        name: re.findall(r'[^\[\], "]+', found) for name, found in re.findall(r"(\w+) = (\[.*\]);", text)
    }
    assert listed == {"ENDED": [*ENDED], "STATES": [*STATES[: -len(ENDED)], "...ENDED"]}


def test_the_bundle_is_its_makers() -> None:
    bundle = next(ROOT.glob("vendor/plotly-strict-*.gz"))
    assert hashlib.sha256(gzip.decompress(bundle.read_bytes())).hexdigest() == PLOTLY
    assert f'"/assets/vendor/{bundle.name.removesuffix(".gz")}"' in (ROOT / "js" / "plot.js").read_text()


def test_documentation_of_the_api(page: Shown) -> None:
    page.goto("/docs")
    expect(page.get_by_text("/api/v1/searches/{name}/select").first).to_be_visible()
