"""Reports: whole, self-contained and safe pages that show what the tables show."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.io
import pytest

import leanfront
from leanfront.core.audit import KINDS
from leanfront.core.storage import AuditRecord, FrontierStore
from leanfront.core.targets import Target, resolve
from leanfront.errors import UsageError
from leanfront.reports.audit_report import report_html
from leanfront.reports.audit_text import tables_of
from leanfront.reports.chapters import documents_of
from tests.leanfront.commands import run

EVIL = '<script>alert("x")</script>'
PICTURED = Path(__file__).parents[1] / "pictured.py"
VOID = {"meta", "link", "img", "br"}
SMALL: dict[str, Any] = {"models": 3, "samples": 24, "gallery": 6}


class Page(HTMLParser):
    """What is on a page: elements, texts by element, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.cells: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        last = self.open[-1] if self.open else ""
        if last == "script":
            own = self.tags[-1][1].get("id") or ""
            self.scripts[own] = self.scripts.get(own, "") + data
        elif last in ("td", "th"):
            self.cells[-1] += data
        elif last != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def figures(self) -> dict[str, Any]:
        return {
            name: plotly.io.from_json(text) for name, text in self.scripts.items() if name.endswith("-data")
        }


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of a database with a search, `seen`, whose candidates were audited by the kinds that take seconds."""
    url = f"sqlite:///{tmp_path_factory.mktemp('audited')}/leanfront.db"
    target: Target = resolve(f"{PICTURED}:target")
    result = leanfront.search(target, name="seen", trials=6, sampler="random", database=url)
    ids = [each.id for each in list(result.frontier())[:2]]
    found = result.audit(
        *[each for each in ids if each is not None],
        kinds=["classes", "exemplars", "calibration", "robustness"],
        levels=["pruning"],
        corruptions=["gaussian_noise", "contrast"],
        severities=[1, 5],
        **SMALL,
    )
    assert {each.kind for each in found} == {"classes", "exemplars", "calibration", "robustness"}
    return url


@pytest.fixture(scope="module")
def records(audited: str) -> list[AuditRecord]:
    """The records of the search as a whole, and of its candidates."""
    return leanfront.open_search("seen", database=audited).audited()


@pytest.fixture(scope="module")
def text(records: list[AuditRecord]) -> str:
    """Their report."""
    return report_html(records)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def evil(value: Any, names: frozenset[str]) -> Any:
    """A document in which every one of some names is hostile, keys and values alike."""
    if isinstance(value, dict):
        return {evil(key, names): evil(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [evil(each, names) for each in value]
    return f"{EVIL}{value}" if isinstance(value, str) and value in names else value


def test_a_report_shows_the_tables(records: list[AuditRecord], page: Page) -> None:
    whole = [each for each in records if each.candidate is None]
    assert len(whole) == 4
    for record in whole:
        assert {"id": f"kind-{record.kind}"} in page.all("section")
        assert {"href": f"#kind-{record.kind}"} in page.all("a")
        assert KINDS[record.kind].source in page.text
        assert KINDS[record.kind].reading in page.text
        for table in tables_of(record.kind, record.document):
            cells = [*table.header, *(cell for row in table.rows for cell in row)]
            assert len(cells) > 10
            place = page.cells.index(cells[0])
            starts = [at for at in range(place, len(page.cells)) if page.cells[at : at + len(cells)] == cells]
            assert starts, f"the table of {record.kind} is not whole"
            assert table.note in page.text
    assert all(page.all(tag) for tag in ("main", "nav", "h1"))
    assert page.all("html") == [{"lang": "en"}]


def test_figures_are_plotly_ones_with_words_beside(records: list[AuditRecord], text: str, page: Page) -> None:
    plots = [each for each in page.all("div") if each.get("role") == "img"]
    figures = page.figures
    assert [f"{each['id']}-data" for each in plots] == list(figures)
    assert all(each["aria-label"] for each in plots)
    assert all(len(figure.data) for figure in figures.values())
    kinds = {trace.type for figure in figures.values() for trace in figure.data}
    assert kinds == {"bar", "scatter", "heatmap"}
    # 2 candidates and 5 levels: what each of them answers is drawn beside the dense model's.
    titles = re.findall(r"<figcaption>(Reliability: [^<]+)", text)
    assert len(titles) == 8
    versions = records[0].document["versions"]
    counts = next(f for f in figures.values() if f.data[0].name == "lost more than the mean, p <= .05")
    found = {each.kind: each for each in records if each.candidate is None}
    significant = [each["by_p"]["n_down"] for each in found["classes"].document["versions"]]
    assert list(counts.data[0].y) == significant
    assert len(versions) == 7


def test_nothing_is_fetched(text: str, page: Page) -> None:
    for tag, attributes in page.tags:
        for key in ("src", "href", "data", "action", "poster", "srcset"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), f"<{tag} {key}={value}>"
    assert not re.search(r"@import|url\(", text[text.index("<style>") : text.index("</style>")])
    policy = next(each["content"] for each in page.all("meta") if "http-equiv" in each)
    assert str(policy).startswith("default-src 'none'")
    # The images of the exemplars are on the page itself, with what they are.
    images = page.all("img")
    assert images
    assert all("true" in str(each["alt"]) for each in images)


def test_galleries_of_candidates_come_from_their_own_documents(records: list[AuditRecord]) -> None:
    own = [each for each in records if each.kind == "exemplars"]
    [(heading, document)] = documents_of(own)
    assert heading == ""
    assert all("gallery" in each for each in document["versions"])
    left = [each for each in own[0].document["versions"] if "gallery" not in each]
    assert (own[0].candidate, len(left)) == (None, 2)
    single = next(each for each in own if each.candidate is not None)
    [(heading, document)] = documents_of([single])
    assert heading == f"Candidate {single.candidate}"
    assert [each["candidate"] for each in document["versions"]] == [single.candidate]
    assert f"candidate {single.candidate} of search" in Page(report_html([single])).text


def test_what_users_named_is_text(records: list[AuditRecord]) -> None:
    names = {"0", "1", "2", "3"} | {
        v["version"] for each in records for v in each.document.get("versions", ())
    }
    hostile = [
        dataclasses.replace(
            each,
            search=EVIL,
            release=EVIL,
            document=evil(copy.deepcopy(dict(each.document)), frozenset(names)),
        )
        for each in records
    ]
    for each in hostile:
        for version in each.document.get("versions", [each.document]):
            for entry in version.get("gallery", ()):
                entry["image"] = "https://example.org/x.png"
    text = report_html(hostile)
    assert "<script>alert" not in text
    page = Page(text)
    assert EVIL in page.text
    assert not page.all("img")
    # Plotly reads tags in its texts: they are escaped once more.
    figures = json.dumps([figure.to_plotly_json() for figure in page.figures.values()], default=list)
    assert "&lt;script&gt;" in figures
    assert "<script" not in figures


def test_the_same_records_give_the_same_file(records: list[AuditRecord], text: str, tmp_path: Path) -> None:
    leanfront.report(reversed(records), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text
    assert [each.name for each in tmp_path.iterdir()] == ["again.html"]


def test_wrong_records_and_paths_are_refused(records: list[AuditRecord], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was audited"):
        report_html([])
    with pytest.raises(UsageError, match="one search"):
        report_html([records[0], dataclasses.replace(records[0], search="other")])
    for path in (tmp_path / "report.pdf", tmp_path / "missing" / "report.html"):
        with pytest.raises(UsageError, match="report"):
            leanfront.report(records, path)
    assert not list(tmp_path.iterdir())


def test_a_kind_without_figures_has_its_table() -> None:
    versions = [{"version": "a<b", "candidate": None, "score": 0.123456789, "many": [1, 2]}]
    record = AuditRecord("seen", "novel", {"samples": 3, "versions": versions})
    page = Page(report_html([record]))
    assert page.cells == ["version", "candidate", "score", "a<b", "-", "0.123457"]
    alone = AuditRecord("seen", "novel", {"samples": 3, "versions": []})
    assert Page(report_html([alone])).cells == ["value", "is", "samples", "3"]


def test_kinds_have_tables_and_figures() -> None:
    assert all(kind.reading and kind.tables and kind.figures for kind in KINDS.values())


@pytest.mark.parametrize("kind", ["limits", "bounds", "capacity", "geometry"])
def test_kinds_that_need_no_candidate(audited: str, kind: str) -> None:
    """Of the dense model and a candidate: every figure is valid, and every table there."""
    result = leanfront.open_search("seen", database=audited)
    first = next(iter(result.frontier())).id
    assert first is not None
    options: dict[str, Any] = {"ratios": [0.5], "criteria": ["l1", "random"]} if kind == "geometry" else {}
    found = result.audit(first, kinds=kind, **SMALL, **options)
    page = Page(report_html(found))
    assert len(page.figures) >= 5
    assert all(len(figure.data) for figure in page.figures.values())
    whole = next(each for each in found if each.candidate is None)
    for own in (each for each in found if each.candidate is not None):
        alone = Page(report_html([own]))
        # What is shared is in the search's document alone: without it there is nothing to draw.
        assert bool(alone.figures) == (not KINDS[kind].shared)
        assert f"candidate {first}" in alone.cells
    for table in tables_of(kind, whole.document):
        assert table.title in page.text
        assert all(cell in page.cells for row in table.rows for cell in row)


def test_command(audited: str, records: list[AuditRecord], text: str) -> None:
    kinds = [part for record in records if record.candidate is None for part in ("--kind", record.kind)]
    shown = run("audit", "seen", "--database", audited, "--stored", "-o", "stored.html", *kinds)
    assert shown.exit_code == 0, shown.output
    assert "Class impact" in shown.stdout
    assert "wrote stored.html" in shown.stderr
    assert Path("stored.html").read_text(encoding="utf-8") == text
    one = next(each.candidate for each in records if each.candidate is not None)
    leanfront.open_search("seen", database=audited).report("own.html", one)
    assert f"Audit of candidate {one} of search" in Page(Path("own.html").read_text(encoding="utf-8")).text
    own = run("audit", "seen", str(one), "--database", audited, "--stored", "--kind", "calibration", "--json")
    assert [each["candidate"] for each in json.loads(own.stdout)["audits"]] == [one]
    made = run(
        "audit", "seen", str(one), "--database", audited, "--kind", "calibration", "-o", "made.html"
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert len(Page(Path("made.html").read_text(encoding="utf-8")).figures) == 5


def test_command_refuses(audited: str, finished: str) -> None:
    for arguments, said in (
        (["seen", "--database", audited, "-o", "report.txt"], "report.html"),
        (["seen", "--database", audited, "--stored", "--models", "3"], "--models cannot be used"),
        (["seen", "--database", audited, "--stored", "--workers", "2"], "--workers cannot be used"),
        (["done", "--database", finished, "--stored"], "leave out --stored"),
    ):
        result = run("audit", *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), result.output
    assert FrontierStore(audited).search("seen").name == "seen"
    assert not list(Path().glob("*.html"))
