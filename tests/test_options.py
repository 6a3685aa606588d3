"""Options are defined once: every face takes the same ones, with the same defaults and bounds."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

import leanfront
from leanfront.actions.recovery_limit import RecoveryLimit
from leanfront.actions.selection_options import FrontierOptions, SelectionOptions
from leanfront.cli.audit import audit
from leanfront.cli.frontier import frontier
from leanfront.cli.recover import recover
from leanfront.cli.resume import resume
from leanfront.cli.search import search
from leanfront.cli.select import select
from leanfront.cli.worker import worker
from leanfront.core.audit import AuditOptions
from leanfront.core.compressors import Recovery
from leanfront.core.objectives.budget_options import BudgetOptions
from leanfront.core.search import Place, SearchOptions
from leanfront.errors import ConfigurationError, UsageError
from leanfront.http.schemas.audits import AuditRequest, SearchAuditRequest
from leanfront.http.schemas.recoveries import RecoveryRequest
from leanfront.http.schemas.searches import SearchRequest
from leanfront.local.candidates import Candidate
from leanfront.local.search_result import SearchResult
from leanfront.options import Option, Options, shown
from leanfront.remote.candidate import RemoteCandidate
from leanfront.remote.search import RemoteSearch
from leanfront.worker.settings import WorkerSettings
from tests.grown import grow

Function = Callable[..., Any]


@dataclass(frozen=True)
class Faces:
    """What takes the same options.

    Args:
        sources: classes of the options.
        functions: in Python, for users of this machine.
        remote: in Python, for users of others.
        commands: on the command line.
        requests: over HTTP.
    """

    sources: tuple[type[Options], ...]
    functions: tuple[Function, ...] = ()
    remote: tuple[Function, ...] = ()
    commands: tuple[click.Command, ...] = ()
    requests: tuple[type[BaseModel], ...] = ()


FACES = {
    "search": Faces(
        (SearchOptions, Place), (leanfront.search,), (leanfront.Client.search,), (search,), (SearchRequest,)
    ),
    "resume": Faces((Place,), (leanfront.resume,), (), (resume,)),
    "worker": Faces((WorkerSettings,), (), (), (worker,)),
    "audit": Faces(
        (AuditOptions,),
        (SearchResult.audit,),
        (RemoteSearch.audit, RemoteCandidate.audit),
        (audit,),
        (AuditRequest, SearchAuditRequest),
    ),
    "frontier": Faces(
        (BudgetOptions, FrontierOptions), (SearchResult.frontier,), (RemoteSearch.frontier,), (frontier,)
    ),
    "select": Faces(
        (BudgetOptions, SelectionOptions),
        (SearchResult.select, SearchResult.selection),
        (RemoteSearch.select,),
        (select,),
    ),
    "recover": Faces(
        (Recovery, RecoveryLimit),
        (SearchResult.recover, Candidate.recover),
        (RemoteCandidate.recover,),
        (recover,),
        (RecoveryRequest,),
    ),
}


OWN = {
    "self",
    "target",
    "name",
    "database",
    "progress",
    "device",
    "workers",
    "candidates",
    "kinds",
    "timeout",
} | {*("wait", "trials", "minutes", "weak", "told", "order_by", "stage", "epochs")}
"""Parameters of functions that are no options of a class, or that a function declares itself."""


@pytest.mark.parametrize("faces", FACES.values(), ids=FACES)
def test_every_face_takes_the_same_options(faces: Faces) -> None:
    everywhere = shown(*faces.sources)
    network = shown(*faces.sources, network=True)
    for function, known in [
        *((each, everywhere) for each in faces.functions),
        *((each, network) for each in faces.remote),
    ]:
        parameters = inspect.signature(function).parameters
        documented = inspect.getdoc(function) or ""
        for name, each in known.items():
            assert parameters[name].default == each.default, (function, name)
            assert f"    {name}: " in documented, (function, name)
        assert set(parameters) - set(known) <= OWN, function
    for command in faces.commands:
        flags = {flag: each for each in command.params for flag in each.opts}
        for name, each in everywhere.items():
            option = flags[each.typed]
            assert isinstance(option, click.Option)
            default = "" if each.default is None or each.pairs else each.default
            text = ", ".join(map(str, default)) if each.many else str(default)
            assert getattr(option, "shown_default", None) == text, (command.name, name)
            # Other options are named as they are typed there.
            assert (option.help or "").startswith(each.help.partition("`")[0]), (command.name, name)
    for request in faces.requests:
        schema = request.model_json_schema()["properties"]
        assert set(schema) - set(network) <= {"target", "name", "kinds", "candidates"}
        for name, each in network.items():
            default = list(each.default) if each.many else each.default
            assert schema[name]["default"] == default, (request, name)
            assert schema[name]["description"] == each.help


@pytest.mark.parametrize("faces", FACES.values(), ids=FACES)
def test_bounds_are_the_same_in_python_and_over_http(faces: Faces) -> None:
    """Values at and beyond each bound are taken, or refused, by both, in the same words."""
    needed = {"target": "a", "kinds": ["classes"]}
    for source in faces.sources:
        for name, each in shown(source, network=True).items():
            for value in _edges(each):
                said = _refused(source, name, value)
                for request in faces.requests:
                    known = {key: needed[key] for key in needed if key in request.model_fields}
                    try:
                        getattr(request(**known, **{name: value}), name)
                        heard = None
                    except ValueError as error:
                        heard = str(error)
                    assert (said is None) == (heard is None), (name, value, said, heard)
                    assert said is None or said.removeprefix("recovery: ") in str(heard), (name, value)


def _edges(each: Option) -> list[Any]:
    if each.kind not in (int, float) or each.many or each.choices is not None:
        return []
    step = 1 if each.kind is int else 1e-9
    bounds = [bound for bound in (each.least, each.above, each.most, each.below) if bound is not None]
    values = [bound + change for bound in bounds for change in (-step, 0, step)]
    return [int(value) if each.kind is int else value for value in values] + [True, 3_000_000_000_000]


def _refused(source: type[Options], name: str, value: Any) -> str | None:
    # An option that needs another one is given it.
    also = {"recover": 1} if name == "recover_minutes" else {}
    try:
        source(**{**also, name: value})
    except (UsageError, ConfigurationError) as error:
        return str(error)
    return None


SHOW = """
import inspect, json, sys
from pathlib import Path
import leanfront
from click.testing import CliRunner
from leanfront.cli import main
from leanfront.core.search import SearchOptions
from leanfront.http.schemas.searches import SearchRequest
sys.path.insert(0, "docs")
import make_reference

def refused(make):
    try:
        make()
    except ValueError as error:
        return str(error)

print(json.dumps({
    "file": leanfront.__file__,
    "default": inspect.signature(leanfront.search).parameters["sparkle"].default,
    "doc": leanfront.search.__doc__,
    "client": "sparkle" in inspect.signature(leanfront.Client.search).parameters,
    "python": refused(lambda: leanfront.search("digits", sparkle=10)),
    "help": CliRunner().invoke(main, ["search", "--help"]).output,
    "command": CliRunner().invoke(main, ["search", "digits", "--sparkle", "10"]).output,
    "schema": SearchRequest.model_json_schema()["properties"]["sparkle"],
    "http": refused(lambda: SearchRequest(target="a", sparkle=10)),
    "asked": SearchRequest(target="a", sparkle=7).options().to_json()["sparkle"],
    "stored": SearchOptions.read(SearchOptions(sparkle=5).to_json()).sparkle,
    "reference": make_reference.updated(Path("docs/reference.md").read_text()),
}))
"""


def test_an_option_that_is_added_in_one_place_is_everywhere(tmp_path: Path) -> None:
    """In Python, on the command line, over HTTP, in stored searches, in the reference; the form has its own test."""
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=tmp_path,
        env=grow(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["file"]).is_relative_to(tmp_path)
    refusal = "sparkle must be a whole number from 1 to 9, not 10"
    assert found["default"] == 3
    assert "sparkle: amount of sparkle of the frontier." in found["doc"]
    assert found["client"]
    assert found["python"] == refusal
    assert "--sparkle INTEGER" in found["help"]
    assert refusal in found["command"]
    assert found["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "default": 3,
        "description": "Amount of sparkle of the frontier.",
        "title": "Sparkle at most",
    }
    assert refusal in found["http"]
    assert (found["asked"], found["stored"]) == (7, 5)
    assert "| `--sparkle INTEGER` | `3` | Amount of sparkle of the frontier. |" in found["reference"]
    assert "sparkle=3" in found["reference"]
