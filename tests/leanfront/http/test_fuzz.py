"""Nonsense from the network: always a right answer or a refusal, never a failure; and schemathesis's judgement."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, unquote

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from leanfront.core.storage import FrontierStore, check
from leanfront.http import Keys

API = "/api/v1"
STRINGS = (
    "'; DROP TABLE leanfront_searches; --",
    '" OR 1=1 --',
    "mine' OR '1'='1",
    "%' ESCAPE '\\",
    "1; SELECT pg_sleep(5)",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "....//....//",
    "file:///etc/passwd",
    "models/other.py:target",
    "torchvision:resnet18?data=/",
    "\x00",
    "a\x00b",
    "\n\r\n\rX: y",
    "\u202e\u2066",
    "😀" * 30,
    "\uff4d\uff49\uff4e\uff45",
    "mine\u0301",
    "\ufeffmine",
    "{{7*7}}${7*7}<%=7*7%>",
    "<script>alert(1)</script>",
    "__proto__",
    "NaN",
    "-Infinity",
    "1e400",
    "-1",
    "0x10",
    "1_000",
    "٣",
    "9" * 400,
    "1" + "0" * 20,
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "true",
    "null",
    "[]",
    " ",
    "",
    "." * 50,
    ".",
    "..",
    "%",
    "%s%n%x",
    "x" * 3000,
)
VALUES: tuple[Any, ...] = (
    *STRINGS,
    None,
    True,
    -1,
    0,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    10**300,
    0.5,
    -0.0,
    1e-320,
    1e308,
    [],
    {},
    [None],
    [[[[]]]],
    {"$ne": None},
    list(range(2000)),
    ["accuracy"] * 50,
)
FIELDS = (
    "target",
    "name",
    "trials",
    "minutes",
    "objectives",
    "bits",
    "criterion",
    "method",
    "sparsity",
    "activation_bits",
    "sampler",
    "seed",
    "samples",
    "false_elimination",
    "metrics",
    "workers",
    "device",
    "__class__",
)
AUDIT_FIELDS = (
    "kinds",
    "population",
    "models",
    "levels",
    "split",
    "samples",
    "corruptions",
    "severities",
    "gallery",
    "seed",
    "candidates",
    "corrupted",
    "shift",
    "__class__",
)
MEASURE_FIELDS = ("maximum", "minimum", "strategy", "stage", "most", "order")
ADDRESSES = (
    "/searches/{}",
    "/searches/{}/events",
    "/searches/{}/frontier",
    "/searches/{}/select",
    "/searches/{}/coverage",
    "/searches/{}/candidates",
    "/searches/{}/progress",
    "/candidates/{}",
    "/searches/{}/audits",
    "/searches/{}/audits/classes",
    "/searches/mine/audits/{}",
    "/searches/mine/audits/{}/figures",
    "/candidates/{}/audits/classes/figures",
    "/candidates/{}/neighbours",
    "/candidates/{}/layers",
    "/candidates/{}/audits",
    "/candidates/1/audits/{}",
    "/jobs/{}",
    "/{}",
    "/searches/mine/{}",
)
QUERIES = (
    "cursor",
    "limit",
    "order_by",
    "weak",
    "strategy",
    "order",
    "tolerance",
    "max_memory",
    "min_accuracy",
    "max_macs",
    "max_{}",
    "min_{}",
    "weight_{}",
    "tolerance_{}",
    "{}",
    "ids",
    "after",
    "columns",
    "points",
)
HEADERS = (
    "X-Request-ID",
    "If-None-Match",
    "Last-Event-ID",
    "Authorization",
    "Content-Type",
    "Accept",
    "Origin",
)


def right(answer: httpx2.Response) -> None:
    """An answer that no client can complain about."""
    asked = f"{answer.request.method} {answer.request.url} -> {answer.status_code}"
    assert answer.status_code < 500, asked
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", asked
        assert answer.json()["status"] == answer.status_code
    elif answer.content and answer.headers["content-type"] == "application/json":
        json.loads(answer.content, parse_constant=lambda constant: pytest.fail(f"{constant} in {asked}"))


def quoted(text: str, safe: str = "") -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe=safe)


@pytest.fixture
def guarded(store: FrontierStore, fill: Any, serving: Callable[..., Any]) -> Iterator[httpx2.Client]:
    """A client of a server with something in it, whose database is right afterwards."""
    fill.search(store)
    before = store.search("mine")
    with serving(store) as url, httpx2.Client(base_url=url, timeout=30) as client:
        yield client
    assert store.search("mine") == before
    report = check(store.database.engine.url.render_as_string(hide_password=False))
    assert report.ok, report.problems


def test_nonsense_in_addresses(guarded: httpx2.Client) -> None:
    for text in STRINGS:
        for address in ADDRESSES:
            for form in (quoted(text), quoted(text, safe="/.%")):
                if len(form) < 9_000:
                    request = guarded.build_request("GET", API + address.format(form))
                    # Two dots make the address of all searches' events, which never end.
                    if request.url.path != f"{API}/events":
                        right(guarded.send(request))
        right(guarded.delete(f"{API}/searches/{quoted(text)}"))
        right(guarded.post(f"{API}/searches/{quoted(text)}/cancel"))


def test_nonsense_in_parameters(guarded: httpx2.Client) -> None:
    searches = [f"/searches/mine/{last}" for last in ("frontier", "select", "candidates", "progress")]
    addresses = itertools.cycle([*searches, "/searches", "/compare"])
    for text in STRINGS:
        # One address more a round, so that every parameter meets every address.
        next(addresses)
        for query, address in zip(QUERIES, addresses, strict=False):
            name = query.format(quoted(text[:200]))
            right(guarded.get(f"{API}{address}?{name}={quoted(text)}"))


def test_nonsense_in_headers(guarded: httpx2.Client) -> None:
    for text in STRINGS:
        value = text.replace("\x00", "").replace("\n", "").replace("\r", "").strip().encode()
        for header in HEADERS:
            right(guarded.post(f"{API}/searches", headers=[(header.encode(), value)], content=b"{}"))
            right(guarded.get(f"{API}/searches/mine/events", headers=[(header.encode(), value)]))


def test_nonsense_in_bodies(guarded: httpx2.Client) -> None:
    headers = {"Content-Type": "application/json"}
    made = 0
    for field in FIELDS:
        for number, value in enumerate(VALUES):
            body = json.dumps({"target": "digits", "name": f"{field} {number}", "trials": 1, field: value})
            answer = guarded.post(f"{API}/searches", content=body, headers=headers)
            right(answer)
            assert answer.status_code in (201, 409, 413, 422), (field, value, answer.text)
            made += answer.status_code == 201
    # Some of it is fine: names in any script, null where that means nothing was said.
    assert 10 < made < len(FIELDS) * len(VALUES) / 4
    for row in guarded.get(f"{API}/searches?limit=1000").json():
        for last in ("", "/frontier", "/select"):
            answer = guarded.get(f"{API}/searches/{quoted(row['name'])}{last}")
            right(answer)
            assert answer.status_code == 200, row["name"]
    right(guarded.get("/metrics"))


def test_nonsense_in_other_bodies(guarded: httpx2.Client) -> None:
    headers = {"Content-Type": "application/json"}
    limits = {"maximum": {"mce": 1.2}}
    for address, fields, least in (
        ("/searches/mine/audits", AUDIT_FIELDS, {"kinds": ["classes"]}),
        ("/candidates/1/audits", AUDIT_FIELDS, {"kinds": ["classes"]}),
        ("/searches/mine/measure", MEASURE_FIELDS, limits),
    ):
        assert guarded.post(API + address, json=least).status_code == 202
        taken = 0
        # Every field meets a part of the values, another one the next part.
        for field, value in itertools.islice(itertools.product(fields, VALUES), 0, None, 4):
            body = json.dumps({**least, field: value})
            answer = guarded.post(API + address, content=body, headers=headers)
            right(answer)
            assert answer.status_code in (202, 413, 422), (field, value, answer.text)
            taken += answer.status_code == 202
        # Some of it is fine: nothing as a list of limits or of candidates.
        assert 0 < taken < len(fields) * len(VALUES) / 40
    for name, side in itertools.product(STRINGS, ("maximum", "minimum")):
        answer = guarded.post(f"{API}/searches/mine/measure", json={side: {name: 1.0}})
        right(answer)
        assert answer.status_code in (413, 422), name
    right(guarded.get("/metrics"))


def test_bytes_at_random(file_client: httpx2.Client) -> None:
    draw = random.Random(0)
    for _ in range(150):
        body = json.dumps({"target": "digits", "trials": 5, "bits": [2, 4], "name": "x"}).encode()
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(body))
            body = body[:place] + draw.randbytes(draw.randint(0, 3)) + body[place + draw.randint(0, 3) :]
        answer = file_client.post(
            f"{API}/searches",
            content=body,
            headers={"Content-Type": draw.choice(["application/json", "text/json"])},
        )
        right(answer)
        if answer.status_code == 201:
            file_client.delete(answer.headers["location"])


KEY = "schemathesis-may-come-in"
STREAM = f"{API}/searches/{{name}}/events"
ENDLESS = f"{API}/events"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_schemathesis(
    file_store: FrontierStore, fill: Any, serving: Callable[..., Any], mode: GenerationMode
) -> None:
    """Requests made from the document, fitting and unfitting, are answered as the document says."""
    fill.search(file_store)
    fits = mode == GenerationMode.POSITIVE
    # A key that is not sent is unfitting too; asked without keys, it is the rest that must be refused.
    with serving(file_store, keys=Keys.of([KEY] if fits else [])) as url:
        document = httpx2.get(f"{url}/openapi.json").json()
        if not fits:
            del document["components"]["securitySchemes"]
            for operations in document["paths"].values():
                for operation in operations.values():
                    del operation["security"]
        schema = schemathesis.openapi.from_dict(document)
        judged = set()
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), found
            operation = found.ok()
            if operation.path == ENDLESS:
                continue  # it takes no parameters, and goes on until the client leaves

            @settings(
                max_examples=settings.default.max_examples // 10,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def judge(case: Any) -> None:
                places = case.path_parameters or {}
                # Clients make the address without end of the one whose search is named "..".
                assume(case.operation.path != STREAM or unquote(str(places.get("name"))) != "..")
                if fits and (
                    case.operation.path == STREAM or (case.method != "DELETE" and len(str(places)) % 2)
                ):
                    # Half of the names and ids lead somewhere; no stream is followed that has no end.
                    places |= {"name": "mine"} if "name" in places else {}
                    places |= {"id": 1} if "id" in places else {}
                case.call_and_validate(
                    base_url=url,
                    headers={"Authorization": f"Bearer {KEY}"} if fits else {},
                    # Limits that contradict each other, or name what this search has not measured, are refused
                    # (422), though each fits the document by itself.
                    excluded_checks=[positive_data_acceptance],
                )

            # What takes nothing at all cannot be asked wrongly.
            with suppress(Unsatisfiable):
                judge()
                judged.add(operation.path)
        assert len(judged) > 10
