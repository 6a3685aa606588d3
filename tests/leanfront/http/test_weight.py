"""A server that has answered everything has loaded nothing that computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from leanfront.core.storage import FrontierStore
from tests.leanfront.filling import Fill
from tests.leanfront.http.test_routes import ANSWERS
from tests.leanfront.test_weight import HEAVY

COMPUTES = [name for name in HEAVY if name != "plotly"]
"""Figures of audits are made with plotly, when somebody asks for them."""
POSTS = {
    "/searches": {"target": "digits", "objectives": ["accuracy", "latency"], "metrics": ["mce"]},
    "/searches/mine/audits": {"kinds": ["classes", "geometry"], "levels": ["pruning"]},
    "/searches/mine/measure": {"maximum": {"mce": 1.2}},
    "/candidates/1/audits": {"kinds": ["robustness"]},
    "/candidates/1/artifact?format=onnx": None,
    "/candidates/1/verify": None,
}
WORK = """
import json, sys, threading, urllib.request
from leanfront.core.storage import FrontierStore
from leanfront.core.targets.registry import Registry
from leanfront.http import Server

gets, posts, heavy = map(json.loads, sys.argv[2:5])
store = FrontierStore(sys.argv[1])
server = Server(store, Registry.of(("digits=digits",)), port=0)
thread = threading.Thread(target=server.run)
thread.start()
try:
    for path in gets:
        urllib.request.urlopen(server.url + path).read()
    for path, body in posts.items():
        data = b"" if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(server.url + "/api/v1" + path, data, headers)
        assert urllib.request.urlopen(request).status in (201, 202), path
finally:
    server.stop()
    thread.join()
print(*(name for name in heavy if name in sys.modules))
"""


def test_a_server_computes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/served.db"
    with FrontierStore(url) as store:
        Fill.search(store)
    gets = [f"/api/v1{path}" for path, _ in ANSWERS] + ["/", "/docs", "/openapi.json", "/metrics"]
    arguments = [json.dumps(each) for each in (gets, POSTS, COMPUTES)]
    found = subprocess.run(
        [sys.executable, "-c", WORK, url, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert found.stdout.split() == []
