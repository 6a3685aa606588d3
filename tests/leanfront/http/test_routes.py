"""Every address: what it answers, that this is what the document says, and what the command line prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter

import leanfront
from leanfront.cli import main
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.core.targets.registry import Registry
from leanfront.http.schemas import (
    audit_figures,
    audits,
    candidates,
    columns,
    comparisons,
    coverage,
    files,
    frontier,
    health,
    jobs,
    layers,
    neighbours,
    progress,
    searches,
    selections,
    targets,
    verifications,
)
from leanfront.worker.runner import Runner
from leanfront.worker.settings import WorkerSettings

API = "/api/v1"


def get(client: httpx2.Client, path: str, status: int = 200, **parameters: Any) -> Any:
    answer = client.get(API + path, params=parameters or None)
    assert answer.status_code == status, answer.text
    return answer.json()


ANSWERS = [
    ("/health", health.Health),
    ("/targets", list[targets.Target]),
    ("/searches", list[searches.SearchRow]),
    ("/searches/mine", searches.Search),
    ("/searches/mine/frontier", frontier.Frontier),
    ("/searches/mine/frontier?limit=2", frontier.Frontier),
    ("/searches/mine/select", selections.Feasible),
    ("/searches/mine/select?max_memory_bytes=1", selections.Infeasible),
    ("/searches/mine/knee", selections.Feasible),
    ("/searches/mine/hypervolume", frontier.Hypervolume),
    ("/searches/mine/coverage", coverage.Coverage),
    ("/searches/mine/candidates", columns.Columns),
    ("/searches/mine/candidates?columns=accuracy:validation,file_bytes&limit=2", columns.Columns),
    ("/searches/mine/progress", progress.Progress),
    ("/candidates/1", candidates.Candidate),
    ("/candidates/1/configuration", candidates.Configuration),
    ("/candidates/1/neighbours", neighbours.Neighbours),
    ("/candidates/1/layers", layers.Layers),
    ("/candidates/1/verification", verifications.Verification),
    ("/candidates/1/artifacts", list[files.File]),
    ("/candidates/1/recoveries", list[candidates.Candidate]),
    ("/candidates/1/audits", list[audits.AuditRow]),
    ("/candidates/1/audits/classes", audits.Audit),
    ("/searches/mine/audits", list[audits.AuditRow]),
    ("/searches/mine/audits/classes", audits.Audit),
    ("/audits/kinds", list[audit_figures.AuditKind]),
    ("/candidates/1/audits/classes/figures", audit_figures.AuditFigures),
    ("/searches/mine/audits/classes/figures", audit_figures.AuditFigures),
    ("/searches/mine/select?max_mce=1.2", selections.Infeasible),
    ("/compare?ids=1,2,3", comparisons.Comparison),
    ("/jobs/1", jobs.Job),
]


def test_answers_are_as_documented(client: httpx2.Client) -> None:
    for path, model in ANSWERS:
        found = get(client, path)
        adapter: TypeAdapter[Any] = TypeAdapter(model)
        # Read and written again nothing is missing: neither side has a key that the other does not know.
        again = adapter.dump_python(adapter.validate_python(found), mode="json", exclude_unset=True)
        assert again == found, path


def test_every_address_of_the_document_is_tried_above(file_client: httpx2.Client) -> None:
    paths = file_client.get("/openapi.json").json()["paths"]
    gets = {path for path, operations in paths.items() if "get" in operations}
    tried = {path.partition("?")[0] for path, _ in ANSWERS}
    named = {
        API + path.replace("mine", "{name}").replace("/1", "/{id}").replace("classes", "{kind}")
        for path in tried
    }
    # These have tests of their own: an audit of the kinds that they show takes its time.
    others = {
        f"{API}/events",
        f"{API}/searches/{{name}}/events",
        f"{API}/candidates/{{id}}/artifact",
        f"{API}/searches/{{name}}/limits",
        f"{API}/searches/{{name}}/audits/{{kind}}/arrays/{{array}}",
    }
    assert gets - named == {"/metrics"} | others


def printed(*arguments: str) -> Any:
    return json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (["searches"], "/searches"),
        (["frontier", "done"], "/searches/done/frontier"),
        (
            ["frontier", "done", "--weak", "--max-macs", "10K"],
            "/searches/done/frontier?weak=true&max_macs=10K",
        ),
        (["frontier", "done", "--min-accuracy", "0.9"], "/searches/done/frontier?min_accuracy=0.9"),
        (["select", "done", "--no-verify", "--max-memory", "2KB"], "/searches/done/select?max_memory=2KB"),
        (["select", "done", "--no-verify", "--max-memory", "1"], "/searches/done/select?max_memory_bytes=1"),
        (["select", "done", "--no-verify", "--strategy", "knee"], "/searches/done/knee"),
        (
            ["select", "done", "--no-verify", "--max", "file_bytes=4KiB", "--min", "top5_accuracy=0.2"],
            "/searches/done/select?max_file_bytes=4KiB&min_top5_accuracy=0.2",
        ),
        (
            [
                "select",
                "done",
                "--no-verify",
                "--strategy",
                "lexicographic",
                "--order",
                "memory,accuracy",
                "--tolerance",
                "500",
            ],
            "/searches/done/select?strategy=lexicographic&order=memory,accuracy&tolerance=500",
        ),
        (
            ["select", "done", "--no-verify", "--strategy", "chebyshev", "--weight", "accuracy=3"],
            "/searches/done/select?strategy=chebyshev&weight_accuracy=3",
        ),
    ],
)
def test_the_command_line_prints_the_same(
    finished: str, serving: Callable[..., Any], command: list[str], path: str
) -> None:
    with FrontierStore(finished) as store, serving(store) as url, httpx2.Client(base_url=url) as client:
        assert get(client, path) == printed(*command, "--database", finished)


def test_targets_are_the_registered_ones(file_client: httpx2.Client) -> None:
    assert get(file_client, "/targets") == [
        {"name": "digits", "description": ""},
        {"name": "other", "description": ""},
    ]
    # Where the operator keeps them is nobody's business.
    assert "models" not in json.dumps(get(file_client, "/targets"))


def test_a_search_is_queued_cancelled_and_deleted(client: httpx2.Client) -> None:
    wanted = {
        "target": "digits",
        "name": "new one",
        "trials": 12,
        "bits": [4, 8],
        "objectives": ["accuracy", "bops"],
    }
    made = client.post(f"{API}/searches", json=wanted)
    assert made.status_code == 201
    assert made.headers["location"] == f"{API}/searches/new%20one"
    found = client.get(made.headers["location"]).json()
    assert found == made.json()
    assert (found["state"], found["goal"], found["objectives"]) == ("queued", 12, ["accuracy", "bops"])
    assert get(client, f"/jobs/{found['job']['id']}")["state"] == "queued"
    assert client.post(f"{API}/searches", json=wanted).status_code == 409
    get(client, "/searches/new one/coverage", status=404)
    assert get(client, "/searches/new one/select")["feasible"] is False
    for _ in range(2):
        cancelled = client.post(f"{API}/searches/new one/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    again = client.post(f"{API}/searches/new one/resume")
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert client.post(f"{API}/searches/new one/resume").status_code == 409
    client.post(f"{API}/searches/new one/cancel")
    assert client.delete(f"{API}/searches/new one").status_code == 204
    assert client.delete(f"{API}/searches/new one").status_code == 404
    assert [row["name"] for row in get(client, "/searches")] == ["mine"]


def test_a_queued_search_is_what_a_worker_takes(client: httpx2.Client, store: FrontierStore) -> None:
    client.post(f"{API}/searches", json={"target": "digits", "trials": 3, "seed": 5, "minutes": 2})
    taken = store.jobs.claim("someone", ["search"])
    assert taken is not None
    record = store.search(taken[0].search)
    assert (record.registered, record.goal, record.seed) == ("digits", 3, 5)
    busy = client.delete(f"{API}/searches/digits")
    assert (busy.status_code, busy.json()["type"]) == (409, "urn:leanfront:problem:busy")
    assert client.post(f"{API}/searches/digits/cancel").json()["state"] == "cancelling"


def test_searches_name_themselves(client: httpx2.Client) -> None:
    for _ in range(3):
        client.post(f"{API}/searches", json={"target": "digits"})
    assert [row["name"] for row in get(client, "/searches")][1:] == ["digits", "digits-2", "digits-3"]


def test_a_search_through_the_network_is_driven_to_its_end(
    tiny_file: Path, serving: Callable[..., Any], tmp_path: Path
) -> None:
    registry = Registry.of((f"tiny={tiny_file}:target",))
    with (
        FrontierStore(f"sqlite:///{tmp_path}/driven.db") as store,
        serving(store, registry) as url,
        httpx2.Client(base_url=url) as client,
    ):
        assert client.post(f"{API}/searches", json={"target": "tiny", "trials": 5}).status_code == 201
        Runner(store, WorkerSettings(registry=registry)).run(once=True)
        found = get(client, "/searches/tiny")
        assert (found["state"], found["trials"]) == ("done", 5), found
        assert get(client, "/searches/tiny/coverage")["parameters"] > 0
        assert len(get(client, "/searches/tiny/frontier")["candidates"]) == found["frontier_size"] > 0


def test_health_tells_workers(client: httpx2.Client, store: FrontierStore) -> None:
    store.jobs.present("host:1:abc", "0.1.0", ["search"])
    found = get(client, "/health")
    assert found["status"] == "ok"
    assert found["version"] == leanfront.__version__
    assert found["database"] == ("sqlite" if store.database.is_sqlite else "postgresql")
    (worker,) = found["workers"]
    assert (worker["name"], worker["kinds"]) == ("host:1:abc", ["search"])


def test_candidates_side_by_side(file_client: httpx2.Client) -> None:
    found = get(file_client, "/compare", ids="3,1")
    assert found["ids"] == [3, 1]
    one, three = get(file_client, "/candidates/1"), get(file_client, "/candidates/3")
    rows = {row["name"]: row["value"] for row in found["measurements"]}
    assert rows["accuracy"] == [three["accuracy"], one["accuracy"]]
    assert rows["memory_bytes"] == [three["memory_bytes"], one["memory_bytes"]]
    assert {"choice": "channels", "of": "group", "values": [3, 1]} in found["choices"]
    get(file_client, "/compare", 404, ids="1,99")
    for wrong in (
        "1",
        "1,1",
        "0,1",
        "1,x",
        "1,2,",
        ",".join(map(str, range(1, 22))),
        "1,9223372036854775808",
    ):
        get(file_client, "/compare", 422, ids=wrong)


def test_neighbours_are_those_of_the_store(client: httpx2.Client, store: FrontierStore, tiny: Target) -> None:
    found = get(client, "/candidates/5/neighbours")
    assert found == json.loads(json.dumps(store.neighbours(5).to_json()))
    assert set(found["cheaper"]) == {"memory_bytes", "macs"}


def test_limits_on_anything_measured(client: httpx2.Client, store: FrontierStore) -> None:
    everything = list(store.candidates("mine"))
    within = get(client, "/searches/mine/frontier", max_cross_entropy=0.2, min_memory_bytes="50KB")[
        "candidates"
    ]
    wanted = {
        each.id
        for each in everything
        if each.on_frontier
        and (each.value("cross_entropy") or 9) <= 0.2
        and (each.memory_bytes or 0) >= 50_000
    }
    assert {each["id"] for each in within} == wanted != set()
    chosen = get(client, "/searches/mine/select", max_file_bytes="100KB")
    assert chosen["candidate"]["file_bytes"] <= 100_000


def test_an_order_by_what_is_no_objective(client: httpx2.Client) -> None:
    found = get(client, "/searches/mine/frontier", order_by="cross_entropy")["candidates"]
    values = [
        next(m["value"] for m in each["measurements"] if m["name"] == "cross_entropy") for each in found
    ]
    assert values == sorted(values)
    get(client, "/searches/mine/frontier", 422, order_by="beauty")


def test_metrics(client: httpx2.Client, store: FrontierStore) -> None:
    get(client, "/searches/mine")
    get(client, "/searches/none", 404)
    text = client.get("/metrics").text
    for line in (
        'leanfront_search_trials{search="mine"} 40.0',
        f'leanfront_search_frontier_size{{search="mine"}} {store.search("mine").frontier_size}.0',
        'leanfront_search_hypervolume{search="mine"} 0.5',
        'leanfront_jobs{kind="search",state="done"} 1.0',
        "leanfront_runners 0.0",
        "leanfront_database_up 1.0",
        "leanfront_http_open_streams 0.0",
        'leanfront_http_request_seconds_count{method="GET",route="/api/v1/searches/{name}",status="200"} 1.0',
        'leanfront_http_request_seconds_count{method="GET",route="/api/v1/searches/{name}",status="404"} 1.0',
    ):
        assert line in text.splitlines(), line


def test_head_is_get_without_the_body(file_client: httpx2.Client) -> None:
    for path in ("/searches/mine", "/searches/mine/frontier", "/searches/none", "/searches/mine/events"):
        head, full = file_client.head(API + path), file_client.get(API + path)
        assert head.status_code == full.status_code
        assert head.content == b""
        assert head.headers["content-type"] == full.headers["content-type"]
