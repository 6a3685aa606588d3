"""Audits as tables, figures and galleries over a real socket."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import plotly.io
import pytest
from pydantic import TypeAdapter

import leanfront
from leanfront.core.audit import KINDS
from leanfront.core.audit.drawing import IMAGE
from leanfront.core.storage import AuditRecord, FrontierStore
from leanfront.core.targets import Target, resolve
from leanfront.http.schemas.audit_figures import AuditFigures
from leanfront.reports.audit_text import tables_of

API = "/api/v1"
PICTURED = Path(__file__).parents[1] / "pictured.py"
EVIL = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontierStore]:
    """A store with the search `seen`, of which one candidate was audited."""
    url = f"sqlite:///{tmp_path_factory.mktemp('audited')}/leanfront.db"
    target: Target = resolve(f"{PICTURED}:target")
    result = leanfront.search(target, name="seen", trials=3, sampler="random", database=url)
    first = next(iter(result.frontier())).id
    assert first is not None
    kinds = ["exemplars", "calibration", "geometry"]
    small: dict[str, Any] = {"ratios": [0.5], "criteria": ["l1", "random"], "samples": 24, "gallery": 6}
    result.audit(first, kinds=kinds, levels=["pruning"], models=3, **small)
    with FrontierStore(url) as store:
        yield store


@pytest.fixture(scope="module")
def served(audited: FrontierStore, serving: Callable[..., Any]) -> Iterator[httpx2.Client]:
    """A client of its server."""
    with serving(audited) as url, httpx2.Client(base_url=f"{url}{API}", timeout=60) as client:
        yield client


def of_kind(store: FrontierStore, kind: str) -> list[AuditRecord]:
    """The record of the search, and that of its candidate."""
    whole = store.audit("seen", kind)
    (candidate,) = [v["candidate"] for v in whole.document["versions"] if v["candidate"] is not None]
    return [whole, store.audit("seen", kind, candidate)]


def figures_of(client: httpx2.Client, record: AuditRecord) -> Any:
    place = "searches/seen" if record.candidate is None else f"candidates/{record.candidate}"
    answer = client.get(f"/{place}/audits/{record.kind}/figures")
    assert answer.status_code == 200, answer.text
    return answer.json()


def pieces_of(found: Any, kind: str) -> list[Any]:
    return [piece for part in found["parts"] for piece in part["pieces"] if piece["type"] == kind]


def test_all_kinds_are_told(served: httpx2.Client) -> None:
    found = served.get("/audits/kinds").json()
    assert [each["kind"] for each in found] == list(KINDS)
    assert [each["reading"] for each in found] == [kind.reading for kind in KINDS.values()]


@pytest.mark.parametrize("kind", ["exemplars", "calibration", "geometry"])
def test_what_a_report_shows(served: httpx2.Client, audited: FrontierStore, kind: str) -> None:
    for record in of_kind(audited, kind):
        found = figures_of(served, record)
        adapter: TypeAdapter[Any] = TypeAdapter(AuditFigures)
        assert adapter.dump_python(adapter.validate_python(found), mode="json") == found
        told = record.to_json()
        for key in ("search", "candidate", "kind", "release", "created", "parameters"):
            assert found[key] == told[key]
        assert (found["title"], found["source"]) == (KINDS[kind].title, KINDS[kind].source)
        assert found["reading"] == KINDS[kind].reading
        (part,) = found["parts"]
        figures = pieces_of(found, "figure")
        if record.candidate is None:
            expected = [dataclasses.asdict(each) for each in tables_of(kind, record.document)]
            assert part["tables"] == json.loads(json.dumps(expected))
            titles = [each.title for each in KINDS[kind].figures(record.document)]
            # A gallery of the candidate is in its own document alone.
            assert set(titles) <= {each["title"] for each in part["pieces"]}
            assert part["heading"] == ""
        else:
            assert part["heading"] == f"Candidate {record.candidate}"
            # What is shared is in the search's document alone: without it there is nothing to draw.
            assert bool(figures) == (not KINDS[kind].shared)
        for each in figures:
            drawn = plotly.io.from_json(json.dumps(each["figure"]))
            assert drawn.data
            assert each["alt"]
            assert "template" not in each["figure"]["layout"]


def test_galleries_hold_images_and_texts(served: httpx2.Client, audited: FrontierStore) -> None:
    whole, own = of_kind(audited, "exemplars")
    left = next(each for each in whole.document["versions"] if each["candidate"] is not None)
    assert "gallery" not in left
    galleries = pieces_of(figures_of(served, whole), "gallery")
    drawn = [v for v in (own.document, *whole.document["versions"]) if v.get("gallery")]
    assert len(galleries) == len(drawn) > 1
    assert {each["fold"] for each in galleries} == {each["version"] for each in drawn}
    cards = {each["fold"]: each["cards"] for each in galleries}[own.document["version"]]
    assert pieces_of(figures_of(served, own), "gallery")[0]["cards"] == cards
    assert len(cards) == len(own.document["gallery"])
    for card, entry in zip(cards, own.document["gallery"], strict=True):
        assert IMAGE.fullmatch(card["image"])
        rows = dict(card["rows"])
        assert (rows["sample"], rows["true"]) == (str(entry["index"]), entry["truth_name"])
        assert entry["dense_name"] in rows["dense"]
        assert card["alt"].startswith(f"sample {entry['index']}: ")
    samples = pieces_of(figures_of(served, of_kind(audited, "geometry")[0]), "gallery")
    assert any(each["cards"] for each in samples)
    assert all(each["cards"] or each["note"] for each in samples)


def test_an_answer_is_kept_until_there_is_another_audit(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any]
) -> None:
    fill.search(file_store, 4)
    before = file_store.audit("mine", "classes")
    with serving(file_store) as url:
        path = f"{url}{API}/searches/mine/audits/classes/figures"
        first = httpx2.get(path)
        again = httpx2.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        file_store.add_audits([dataclasses.replace(before, release="next", parameters={"models": 9})])
        after = httpx2.get(path, headers={"If-None-Match": first.headers["etag"]}).json()
        assert (after["release"], after["parameters"]) == ("next", {"models": 9})
        assert after["parts"] == first.json()["parts"]


def test_what_users_named_is_text(file_store: FrontierStore, fill: Any, serving: Callable[..., Any]) -> None:
    fill.search(file_store, 4)
    record = file_store.audit("mine", "classes")
    text = json.dumps(record.document)
    for name in "abc":
        text = text.replace(f'"name": "{name}"', f'"name": {json.dumps(EVIL + name)}')
    options = {"corrupted": "/srv/ada/secret/CIFAR-10-C"}
    file_store.add_audits(
        [dataclasses.replace(record, document=json.loads(text), release=EVIL, parameters=options)]
    )
    with serving(file_store) as url:
        answer = httpx2.get(f"{url}{API}/searches/mine/audits/classes/figures")
    assert "ada" not in answer.text
    found = answer.json()
    assert (found["release"], found["parameters"]["corrupted"]) == (EVIL, "CIFAR-10-C")
    # Tables are text; plotly reads tags.
    assert any(EVIL in cell for row in found["parts"][0]["tables"][0]["rows"] for cell in row)
    figures = json.dumps([each["figure"] for each in pieces_of(found, "figure")])
    assert "&lt;script&gt;" in figures
    assert "<script" not in figures


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("searches/seen/audits/beauty", "there is no kind of audit 'beauty'"),
        ("searches/seen/audits/limits", 'POST {"kinds": ["limits"]} to /api/v1/searches/seen/audits'),
        ("searches/nobody/audits/limits", "nobody"),
        ("candidates/2/audits/classes", "/api/v1/candidates/2/audits"),
        ("candidates/999/audits/classes", "999"),
    ],
)
def test_audits_that_are_not_there(served: httpx2.Client, path: str, words: str) -> None:
    answer = served.get(f"/{path}/figures")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert words in answer.json()["detail"]
