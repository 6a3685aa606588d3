"""Every command: what it prints, and its exit code."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from leanfront.cli import group, main
from leanfront.core.storage import AuditRecord, FrontierStore
from leanfront.core.targets import builtin_targets
from leanfront.local.search_result import SearchResult
from leanfront.reports.plot import frontier_figure
from tests.leanfront.commands import run
from tests.leanfront.conftest import Start


def answer(*arguments: str) -> Any:
    """The JSON of a command: standard output holds nothing else."""
    result = run(*arguments, "--json")
    return json.loads(result.stdout)


COMMANDS = ["demo", "targets", "inspect", "search", "resume", "searches", "frontier", "select", "export"]
COMMANDS += ["verify", "recover", "audit", "serve", "worker", "database"]


@pytest.mark.parametrize(
    "command",
    [[], *[[c] for c in COMMANDS], *[["database", c] for c in ("upgrade", "check", "export-study")]],
)
def test_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage:")


def test_all_commands_are_there() -> None:
    assert set(main.commands) == set(COMMANDS)


SHARED = {"__init__", "exits", "group", "options", "output"}
"""Files of the command line that hold no command."""


def test_the_table_of_commands_says_what_they_say() -> None:
    for name, (address, line) in group.COMMANDS.items():
        command = main.commands[name]
        assert command.name == name
        assert command.get_short_help_str(limit=1000) == line
        assert address == f"leanfront.cli.{name}:{name}"
    files = {path.stem for path in Path(group.__file__).parent.glob("*.py")}
    assert files - SHARED == set(group.COMMANDS)
    shown = run("--help").stdout
    assert [line.split()[0] for line in shown.partition("Commands:\n")[2].splitlines()] == sorted(COMMANDS)


def test_a_command_that_is_not_there_is_guessed() -> None:
    result = run("serach")
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
    assert "search" in result.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["targets"], ["select"]])
def test_it_is_run_as_a_module_too(arguments: list[str], start: Start) -> None:
    command = start(*arguments)
    module = subprocess.run(
        [sys.executable, "-m", "leanfront", *arguments], capture_output=True, text=True, check=False
    )
    assert command.communicate() == (module.stdout, module.stderr)
    assert command.returncode == module.returncode


def test_targets() -> None:
    assert [row["name"] for row in answer("targets")] == [name for name, _ in builtin_targets()]
    assert "digits" in run("targets").stdout


def test_inspect(tiny_file: Path) -> None:
    report = answer("inspect", f"{tiny_file}:target")
    assert [group["name"] for group in report["groups"]] == ["conv1", "conv3"]
    assert report["quantisable_bytes"] > 0.9
    assert report["cheapest"]["memory_bytes"] < report["dense"]["memory_bytes"] / 10
    text = run("inspect", f"{tiny_file}:target").stdout
    assert "2 channel groups, each proven" in text
    assert "linear (channel group): no layer reads its channels" in text


def test_search_to_select(tiny_file: Path) -> None:
    result = run("search", f"{tiny_file}:target", "--name", "mine", "--trials", "20", "--bits", "2,4,8")
    assert result.exit_code == 0, result.output
    assert "mine: 20 trials" in result.stdout
    assert "leanfront select mine" in result.stdout
    (row,) = answer("searches")
    assert (row["name"], row["state"], row["trials"]) == ("mine", "done", 20)
    assert row["target"] == f"{tiny_file}:target"
    assert row["frontier_size"] == len(answer("frontier", "mine")["candidates"])
    chosen = answer("select", "mine", "--max-memory", "2KB")
    assert chosen["feasible"]
    assert chosen["candidate"]["memory_bytes"] <= 2000
    assert run("resume", "mine", "--trials", "25").exit_code == 0
    assert answer("searches")[0]["trials"] == 25
    assert Path("leanfront.db").exists()
    assert list(Path("leanfront-artifacts").iterdir())


def test_false_elimination_is_chosen_and_kept(tiny_file: Path) -> None:
    # Rounded weights take a fifth of the time of refitted ones; what is stopped when is the same question.
    search = (
        "search",
        f"{tiny_file}:target",
        "--trials",
        "60",
        "--sampler",
        "random",
        "--method",
        "rounding",
    )
    assert "candidates stopped early" in run(*search, "--name", "raced", "--false-elimination", "0.5").stdout
    assert "stopped early" not in run(*search, "--name", "whole", "--false-elimination", "0").stdout
    report = {row["name"]: row for row in json.loads(run("database", "check", "--json").stdout)["searches"]}
    assert report["raced"]["stopped"] > report["whole"]["stopped"] == 0
    assert report["raced"]["stopped"] + report["raced"]["candidates"] == report["whole"]["candidates"]
    wrong = run(*search, "--false-elimination", "1.5")
    assert wrong.exit_code == 2
    assert "false_elimination must be a finite number of at least 0 and below 1, not 1.5" in wrong.stderr


def test_search_names_itself(tiny_file: Path) -> None:
    for _ in range(2):
        assert run("search", f"{tiny_file}:target", "--trials", "2").exit_code == 0
    assert [row["name"] for row in answer("searches")] == ["tiny", "tiny-2"]


def test_no_searches_yet() -> None:
    assert answer("searches") == []
    assert "No searches yet" in run("searches").stdout


def test_frontier_json(finished: str) -> None:
    found = answer("frontier", "done", "--database", finished)
    assert set(found) >= {"search", "dense", "reference", "hypervolume", "candidates"}
    assert found["dense"]["memory_bytes"] == found["reference"]["memory"]
    memory = [c["memory_bytes"] for c in found["candidates"]]
    assert memory == sorted(memory)
    for candidate in found["candidates"]:
        assert candidate["on_frontier"]
        assert candidate["accuracy_low"] <= candidate["accuracy"] <= candidate["accuracy_high"]
        assert {(m["name"], m["split"]) for m in candidate["measurements"]} >= {
            ("accuracy", "validation"),
            ("accuracy", "test"),
            ("macs", None),
        }


def _is(measurement: dict[str, Any], name: str) -> bool:
    return bool(measurement["name"] == name and measurement["split"] == "validation")


def test_frontier_limits(finished: str) -> None:
    everything = answer("frontier", "done", "--database", finished)["candidates"]
    limit = everything[len(everything) // 2]["memory_bytes"]
    within = answer("frontier", "done", "--database", finished, "--max-memory", str(limit))["candidates"]
    assert [c["id"] for c in within] == [c["id"] for c in everything if c["memory_bytes"] <= limit]
    good = answer("frontier", "done", "--database", finished, "--min-accuracy", "0.9")["candidates"]
    assert [c["id"] for c in good] == [c["id"] for c in everything if c["accuracy"] >= 0.9]
    losses = {c["id"]: m["value"] for c in everything for m in c["measurements"] if _is(m, "cross_entropy")}
    middle = sorted(losses.values())[len(losses) // 2]
    capped = answer("frontier", "done", "--database", finished, "--max", f"cross_entropy={middle}")[
        "candidates"
    ]
    assert {c["id"] for c in capped} == {i for i, loss in losses.items() if loss <= middle}
    assert len(capped) < len(everything)
    weak = answer("frontier", "done", "--database", finished, "--weak")["candidates"]
    assert {c["id"] for c in everything} <= {c["id"] for c in weak}


def test_frontier_table_and_csv(finished: str) -> None:
    text = run("frontier", "done", "--database", finished).stdout
    assert text.splitlines()[0].split()[0] == "id"
    assert "Validation minus test" in text
    rows = list(csv.DictReader(io.StringIO(run("frontier", "done", "--database", finished, "--csv").stdout)))
    found = answer("frontier", "done", "--database", finished)["candidates"]
    assert [int(row["id"]) for row in rows] == [c["id"] for c in found]
    assert [float(row["validation_accuracy"]) for row in rows] == [c["accuracy"] for c in found]


def test_select_feasible(finished: str) -> None:
    everything = answer("frontier", "done", "--database", finished)["candidates"]
    limit = everything[len(everything) // 2]["memory_bytes"]
    found = answer("select", "done", "--database", finished, "--max-memory", f"{limit}B")
    best = max(c["accuracy"] for c in everything if c["memory_bytes"] <= limit)
    assert found["feasible"]
    assert found["strategy"] == "accuracy"
    assert found["candidate"]["accuracy"] == best
    text = run("select", "done", "--database", finished, "--max-memory", f"{limit}B").stdout
    assert f"candidate {found['candidate']['id']} of done (on the frontier)" in text


def test_select_infeasible(finished: str) -> None:
    result = run("select", "done", "--database", finished, "--max-memory", "10B", "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["feasible"] is False
    assert found["binding"] == "memory_bytes"
    assert found["violations"]["memory_bytes"] == found["nearest"]["memory_bytes"] - 10
    assert found["cheapest"]["memory_bytes"] > 10
    text = run("select", "done", "--database", finished, "--max-memory", "10B")
    assert text.exit_code == 3
    assert "memory_bytes binds" in text.stdout
    assert "the space reaches no less than" in text.stdout


@pytest.mark.parametrize(
    "strategy",
    [
        ["knee"],
        ["lexicographic", "--order", "memory,accuracy", "--tolerance", "500"],
        ["chebyshev", "--weight", "accuracy=3"],
    ],
)
def test_select_strategies(finished: str, strategy: list[str]) -> None:
    found = answer("select", "done", "--database", finished, "--strategy", *strategy)
    assert found["feasible"]
    assert found["strategy"] == strategy[0]
    assert found["candidate"]["on_frontier"]


def test_plot(finished: str) -> None:
    result = run("frontier", "done", "--database", finished, "--plot", "front.html")
    assert result.exit_code == 0
    page = Path("front.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!doctype html>")
    # Nothing is fetched: the script that draws is inside.
    assert "<script src=" not in page
    assert len(page) > 1_000_000
    wrong = run("frontier", "done", "--database", finished, "--plot", "front.png")
    assert wrong.exit_code == 2
    assert "front.html" in wrong.stderr
    nowhere = run("frontier", "done", "--database", finished, "--plot", "missing/front.html")
    assert nowhere.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["select", "done", "--max-memory", "-3KB"], 2, "-3KB"),
        (["select", "done", "--max-memory", "lots"], 2, "lots"),
        (["select", "done", "--max-macs", "nan"], 2, "nan"),
        (["select", "done", "--min-accuracy", "90"], 2, "90"),
        (["select", "done", "--max", "beauty=3"], 2, "beauty"),
        (["select", "done", "--max", "cross_entropy"], 2, "METRIC=VALUE"),
        (["select", "done", "--max", "bops=1M", "--max", "bops=2M"], 2, "twice"),
        (["select", "done", "--strategy", "magic"], 2, "unknown strategy"),
        (["select", "done", "--strategy", "knee", "--order", "memory"], 2, "order"),
        (["select", "gone"], 1, "gone"),
        (["frontier", "gone"], 1, "gone"),
        (["frontier", "done", "--json", "--csv"], 2, "choose one"),
        (["resume", "gone"], 1, "gone"),
        (["select"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_wrong_input(finished: str, arguments: list[str], code: int, message: str) -> None:
    database = [] if arguments in (["select"], ["frobnicate"]) else ["--database", finished]
    result = run(*arguments, *database)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 2, "nothing"),
        (["missing.py:target"], 1, "missing.py"),
        (["{tiny}:gone"], 1, "gone"),
        (["{tiny}:target", "--bits", "two"], 2, "bits must be a sequence of 1 to 9 values"),
        (["{tiny}:target", "--bits", "1"], 2, "unknown bits 1; choose from 2"),
        (["{tiny}:target", "--objectives", "accuracy"], 2, "2 to 6"),
        (["{tiny}:target", "--objectives", "accuracy,beauty"], 2, "beauty"),
        (["{tiny}:target", "--sampler", "magic"], 2, "unknown sampler 'magic'"),
        (["{tiny}:target", "--criterion", "magic"], 2, "unknown criterion 'magic'"),
        (["{tiny}:target", "--device", "abacus"], 2, "unknown device"),
        (["{tiny}:target", "--trials", "0"], 2, "trials must be a whole number from 1 to"),
        (["{tiny}:target", "--name", "a/b"], 2, "a/b"),
    ],
)
def test_wrong_search(tiny_file: Path, arguments: list[str], code: int, message: str) -> None:
    result = run("search", *[a.replace("{tiny}", str(tiny_file)) for a in arguments])
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert answer("searches") == []


def test_taken_name(tiny_file: Path, finished: str) -> None:
    result = run("search", f"{tiny_file}:target", "--name", "done", "--database", finished, "--trials", "1")
    assert result.exit_code == 1
    assert "'done' exists" in result.stderr


def test_database_commands(finished: str) -> None:
    report = run("database", "check", "--database", finished)
    assert report.exit_code == 0, report.output
    assert "done" in report.stdout
    assert run("database", "upgrade", "--database", finished).exit_code == 0
    assert json.loads(run("database", "check", "--database", finished, "--json").stdout)
    wrong = run("database", "check", "--database", "sqlite:///missing/folder/x.db")
    assert wrong.exit_code == 1
    assert run("searches", "--database", "nonsense").exit_code in (1, 2)


def test_check_finds_a_wrong_frontier(finished: str, tmp_path: Path) -> None:
    copied = tmp_path / "copy.db"
    source = sqlite3.connect(finished.removeprefix("sqlite:///"))
    target = sqlite3.connect(copied)
    source.backup(target)
    target.execute(
        "DELETE FROM leanfront_frontier WHERE candidate_id = "
        "(SELECT min(candidate_id) FROM leanfront_frontier WHERE strict_after)"
    )
    target.commit()
    target.close()
    source.close()
    result = run("database", "check", "--database", f"sqlite:///{copied}")
    assert result.exit_code == 1
    assert "lacks candidate" in result.stdout


def test_names_are_text_in_plots(finished: str) -> None:
    store = FrontierStore(finished)
    record = store.search("done")
    evil = dataclasses.replace(record, name="<script>alert(1)</script>")
    page = frontier_figure(evil, list(store.candidates("done"))).to_html(include_plotlyjs=False)
    assert "<script>alert(1)" not in page


def test_a_search_is_exported_to_optuna(finished: str, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/optuna.db"
    result = run("database", "export-study", "done", "--storage", storage, "--database", finished)
    assert (result.exit_code, "60 trials" in result.stdout) == (0, True), result.output
    assert optuna.load_study(study_name="done", storage=storage).best_trials
    again = run("database", "export-study", "done", "--storage", storage, "--database", finished)
    assert again.exit_code == 1
    assert "--study-name" in again.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lease", "0.5"], "lease must be a finite number from 1 to 3,600, not 0.5"),
        (["--workers", "0"], "workers"),
        (["--device", "abacus"], "device"),
        (["--target", "nameless"], "NAME=TARGET"),
        (["--target", "a=digits", "--target", "a=digits"], "twice"),
        (["--targets", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_worker_refuses_what_it_cannot_use(options: list[str], words: str) -> None:
    result = run("worker", "--once", *options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_worker_ends_where_nothing_is_queued(tmp_path: Path) -> None:
    result = run("worker", "--once", "--database", f"sqlite:///{tmp_path}/empty.db")
    assert result.exit_code == 0, result.output


def test_what_codes_cannot_go_below_is_drawn(finished: str, tmp_path: Path) -> None:
    shutil.copy(finished.removeprefix("sqlite:///"), tmp_path / "own.db")
    with FrontierStore(f"sqlite:///{tmp_path}/own.db") as store:
        first, *_ = store.frontier("done")
        assert first.id is not None
        versions = [{"candidate": None, "bound_bytes": 9.0}, {"candidate": first.id, "bound_bytes": 123.0}]
        assert SearchResult(store, "done").bounds() == {}
        before = frontier_figure(store.search("done"), list(store.candidates("done")), {})
        assert "entropy-coded bound" not in [trace.name for trace in before.data]
        drawn = frontier_figure(store.search("done"), list(store.candidates("done")), {first.id: 123.0})
        (bound,) = [trace for trace in drawn.data if trace.name == "entropy-coded bound"]
        assert (list(bound.x), list(bound.y)) == ([123.0], [first.accuracy])
        store.add_audits([AuditRecord("done", "bounds", {"versions": versions})])
        assert SearchResult(store, "done").bounds() == {first.id: 123.0}
