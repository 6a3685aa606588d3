"""Arrays in what audits found, in pages; and the limits of a search."""

from __future__ import annotations

from typing import Any

import httpx2
import numpy as np
import pytest

from leanfront.core.audit.arrays import packed
from leanfront.core.storage import AuditRecord, FrontierStore

API = "/api/v1"
VALUES = np.arange(24, dtype=np.float16).reshape(6, 2, 2)
VALUES[0, 0, 0] = np.nan


@pytest.fixture
def audited(store: FrontierStore, client: httpx2.Client) -> httpx2.Client:
    """A client of a server whose search has audits with arrays."""
    arrays = {"measures": packed(VALUES), "none": packed(np.zeros((0, 3))), "one": packed(np.float16(0.5))}
    for kind in ("geometry", "limits"):
        document = {"samples": 3, "arrays": arrays} if kind == "geometry" else {"axes": []}
        store.add_audits([AuditRecord("mine", kind, document, None, {"seed": 0}, "test")])
    return client


def rows(client: httpx2.Client, array: str, **query: Any) -> httpx2.Response:
    return client.get(f"{API}/searches/mine/audits/geometry/arrays/{array}", params=query)


def test_pages_hold_all_rows(audited: httpx2.Client) -> None:
    found, offset, pages = [], 0, 0
    while offset is not None:
        page = rows(audited, "measures", offset=offset, limit=4).json()
        assert (page["shape"], page["dtype"], page["offset"]) == ([6, 2, 2], "float16", offset)
        found += page["rows"]
        offset, pages = page["next"], pages + 1
    assert pages == 2
    expected = VALUES.tolist()
    expected[0][0][0] = None
    assert found == expected


@pytest.mark.parametrize(("array", "expected"), [("none", []), ("one", [0.5])])
def test_arrays_of_odd_shapes(audited: httpx2.Client, array: str, expected: list[Any]) -> None:
    page = rows(audited, array).json()
    assert (page["rows"], page["next"]) == (expected, None)
    assert rows(audited, array, offset=5).json()["rows"] == []


def test_a_page_is_not_sent_twice(audited: httpx2.Client) -> None:
    first = rows(audited, "measures")
    again = audited.get(str(first.url), headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_a_document_shows_the_shapes_of_its_arrays_alone(audited: httpx2.Client) -> None:
    document = audited.get(f"{API}/searches/mine/audits/geometry").json()["document"]
    assert document["arrays"]["measures"] == {"shape": [6, 2, 2], "dtype": "float16"}


@pytest.mark.parametrize("path", ["arrays/others", "arrays/measures%00"])
def test_an_array_that_is_not_there(audited: httpx2.Client, path: str) -> None:
    answer = audited.get(f"{API}/searches/mine/audits/geometry/{path}")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"offset": "x"}])
def test_pages_are_bounded(audited: httpx2.Client, query: dict[str, Any]) -> None:
    assert rows(audited, "measures", **query).status_code == 422


def test_the_limits_of_a_search_are_its_audit_of_them(audited: httpx2.Client) -> None:
    limits = audited.get(f"{API}/searches/mine/limits").json()
    assert limits == audited.get(f"{API}/searches/mine/audits/limits").json()
    assert limits["document"] == {"axes": []}
    missing = audited.get(f"{API}/searches/nobody/limits")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:leanfront:problem:not-found")


def test_without_an_audit_there_are_no_limits(client: httpx2.Client) -> None:
    answer = client.get(f"{API}/searches/mine/limits")
    assert answer.status_code == 404
    assert '"limits"' in answer.json()["detail"]
