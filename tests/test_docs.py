"""The documentation says what is true: its blocks run, its tables are up to date, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import pytest

import leanfront
from leanfront.cli import main as cli
from leanfront.core.audit import KINDS, LEVELS
from leanfront.core.compressors import CRITERIA, OPTIMISERS, PRESETS
from leanfront.core.cost_models import COST_MODELS
from leanfront.core.objectives import METRICS, STRATEGIES
from leanfront.core.objectives.corruptions import CORRUPTIONS
from leanfront.core.search import SAMPLERS
from leanfront.core.targets import BUILTINS
from tests.forked import PROGRAMS, Forks

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is, and what it holds."""

    language: str
    file: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """Blocks of a page, in order. Python and console blocks run, a Python block with a file name is that file."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        language, _, file = match["words"].strip().partition(" ")
        yield Block(language, file.strip(), match["text"])


def environment() -> dict[str, str]:
    """What the commands of a page see: the real command line, and nothing of this machine's settings."""
    settings = ("LEANFRONT_DATABASE", "LEANFRONT_ARTIFACTS")
    own = {key: value for key, value in os.environ.items() if key not in settings}
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", "")])
    own["OMP_NUM_THREADS"] = "1"  # the models are too small for more to pay
    return own


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the server and the worker of the pages run."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def service(served: Path) -> Iterator[str]:
    """A server and a worker as the pages start them, on a free port; the server's address."""
    folder = served
    with ExitStack() as stack:
        processes = []
        for command in (["serve", "--port", "0"], ["worker"]):
            log = stack.enter_context((folder / f"{command[0]}.log").open("w+"))
            processes.append(
                subprocess.Popen(
                    ["leanfront", *command, "--target", "digits=digits"],
                    cwd=folder,
                    env=environment(),
                    stderr=log,
                    text=True,
                )
            )
        try:
            yield listening(folder / "serve.log", processes[0])
            assert [process.poll() for process in processes] == [None, None]
            for process in processes:
                process.terminate()
            assert [process.wait(60) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def listening(log: Path, server: subprocess.Popen[str]) -> str:
    """The address that a server says it listens on."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        for line in log.read_text().splitlines():
            if '"url"' in line:
                return str(json.loads(line)["url"])
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"the server does not listen: {log.read_text()}")


def run_page(forks: Forks, page: Path, folder: Path, address: str = "") -> str:
    """Run all blocks of a page in a folder, and return what they printed.

    Args:
        forks: what runs them.
        page: a Markdown file.
        folder: where its files are and its commands run.
        address: of the service, in the place of the one that the page names.

    A command must end with 0, unless ``$ echo $?`` behind it shows another exit code. Python blocks with
    nothing but prose between them run in one process: starting PyTorch is most of their time.
    """
    printed, waiting = "", ""
    for block in [*blocks(page), Block("console", "", "")]:
        if block.language == "python" and not block.file:
            waiting += block.text.replace("http://127.0.0.1:8000", address or "http://127.0.0.1:8000")
            continue
        if waiting and (block.file or block.language == "console"):
            (folder / "script.py").write_text(waiting, encoding="utf-8")
            done = forks.run(["python", "script.py"], cwd=folder, env=environment())
            assert done.returncode == 0, f"{page.name}: {waiting}\n{done.stderr}"
            printed, waiting = printed + done.stdout, ""
        if block.language == "python":
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            printed += run_console(forks, block.text, folder)
    return printed


def run_console(forks: Forks, text: str, folder: Path) -> str:
    """Run the commands of a console block."""
    printed = ""
    prompts = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    expected = [
        int(prompts[at + 1][1]) if at + 1 < len(prompts) and prompts[at + 1][0] == "echo $?" else 0
        for at in range(len(prompts))
    ]
    for (command, shown), code in zip(prompts, expected, strict=True):
        if command == "echo $?":
            continue
        done = (
            forks.run(shlex.split(command), cwd=folder, env=environment())
            if is_plain(command)
            else run(["bash", "-c", command], folder)
        )
        assert done.returncode == code, f"$ {command}\n{done.stdout}\n{done.stderr}"
        for line in shown.splitlines():
            # Figures depend on the machine's arithmetic; words do not.
            assert words(line) <= words(done.stdout + done.stderr), f"$ {command}\nshows no more: {line}"
        printed += done.stdout
    return printed


def is_plain(command: str) -> bool:
    """Whether a command needs no shell: its program can be forked, and nothing outside quotes is for a shell."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>()")
    program, *others = lexer
    operators = [each for each in others if not set(each) - set("|&;<>()")]
    return program in PROGRAMS and not operators and not set(command) & set("$`*")


def words(text: str) -> set[str]:
    """The words of a text: no figures, no punctuation."""
    return set(re.findall(r"[A-Za-z]{3,}", text))


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands(forks: Forks, tmp_path: Path) -> None:
    printed = run_page(forks, ROOT / "docs" / "tutorial.md", tmp_path)
    assert (tmp_path / "mine.html").stat().st_size > 1_000_000
    found = re.search(r"on test: (\S+) as stored: (\S+)", printed)
    assert found is not None
    # One image of 397: sums may round otherwise in another batch size.
    assert float(found[1]) == pytest.approx(float(found[2]), abs=1.5 / 397)
    records = searches(forks, tmp_path)
    assert records["mine"]["trials"] == 60
    assert records["mine-in-python"]["trials"] == 15


def searches(forks: Forks, folder: Path) -> dict[str, dict[str, object]]:
    """What `leanfront searches` tells of each search, by name."""
    done = forks.run(["leanfront", "searches", "--json"], cwd=folder, env=environment())
    return {record["name"]: record for record in json.loads(done.stdout)}


@pytest.mark.slow
def test_the_readme_runs_as_it_stands(forks: Forks, served: Path, service: str) -> None:
    before = searches(forks, served)
    run_page(forks, ROOT / "README.md", served, service)
    assert (served / "mine.html").is_file()
    found = searches(forks, served)
    assert {name: found[name]["trials"] for name in found if name not in before} == {
        "mine": 40,
        "from-python": 20,
        "over-http": 60,
    }


@pytest.mark.slow
def test_the_operations_page_runs_as_it_stands(forks: Forks, served: Path, service: str) -> None:
    printed = run_page(forks, ROOT / "docs" / "operations.md", served, service)
    assert float(printed) > 0.5
    assert searches(forks, served)["first"]["state"] == "done"


TRY_ADDITIONS = """
from leanfront.core.compressors import Compressor, Configuration, Recovery, recover
import leanfront
from leanfront.cli import main

result = leanfront.search(
    "digits", trials=14, criterion="linf", sampler="restless", objectives="accuracy,brier,energy", bits=(3, 8)
)
assert result.record.trials == 14, result.record
assert all(c.reason is None for c in result.candidates())
best = result.select(maximum={"energy": "40M"}, strategy="smallest")
assert best.value("energy_pj") <= 40_000_000
assert best.value("energy_pj") == 4.6 * best.macs + 160 * best.memory_bytes
assert 0 <= best.value("brier") <= 2
assert best.memory_bytes == min(c.memory_bytes for c in result.candidates() if c.value("energy_pj") <= 4e7)
assert best.configuration.criterion in ("linf", "none")
main(["select", result.name, "--max", "energy=40M", "--strategy", "smallest"])

compressor = Compressor(leanfront.resolve("digits"))
rough = compressor.materialise(Configuration(weight_bits=dict.fromkeys(compressor.structure.layers, 2)))
recovered = recover(compressor, rough, Recovery(epochs=2, batch_size=32, optimiser="rmsprop"))
assert recovered.after > recovered.before, recovered

import torch
from leanfront.core.objectives.corruptions import corrupt

grey = torch.full((2, 1, 8, 8), 0.6)
assert torch.allclose(corrupt("darker", grey, 3, [0, 1]), grey - 0.3, atol=1 / 255)
found = result.audit(best.id, kinds="robustness", corruptions=["darker"], samples=20)
assert found[-1].document["c_like"]["corruptions"] == ["darker"]
(counted,) = result.audit(best.id, kinds="counted")
assert counted.document["samples"] == 397, counted.document
"""


@pytest.mark.slow
def test_every_addition_that_contributing_shows_works(forks: Forks, tmp_path: Path) -> None:
    code = [block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "python"]
    assert len(code) == 8
    script = tmp_path / "additions.py"
    script.write_text("\n".join([*code, TRY_ADDITIONS]), encoding="utf-8")
    done = forks.run(["python", str(script)], cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert "energy_pj" in done.stdout
    assert "brier (test)" in done.stdout


@pytest.fixture(scope="module")
def reference() -> str:
    return (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def load(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_up_to_date(reference: str) -> None:
    assert load("make_reference").updated(reference) == reference, "run python docs/make_reference.py"


def test_a_stale_reference_is_noticed(reference: str) -> None:
    assert "| `linf` |" not in reference
    stale = reference.replace("| `fisher` |", "| `linf` |")
    assert load("make_reference").updated(stale) == reference


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, f"{path} {name}")


def test_every_command_and_option_is_documented(reference: str) -> None:
    sections = re.split(r"^### ", reference, flags=re.MULTILINE)
    for path, command in commands(cli, "leanfront"):
        if isinstance(command, click.Group):
            assert path in reference
            continue
        section = next((s for s in sections if re.match(rf"`{path}[ `]", s)), None)
        assert section is not None, f"{path} has no section in docs/reference.md"
        for parameter in command.params:
            assert parameter.opts[0] in section or str(parameter.name).upper() in section, (path, parameter)


def test_every_command_option_and_argument_has_help() -> None:
    for path, command in commands(cli, "leanfront"):
        assert command.help, path
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{path} {parameter.opts}"


@pytest.mark.parametrize("name", leanfront.__all__)
def test_every_python_name_is_documented(name: str, reference: str) -> None:
    python = reference.partition("\n## Python\n")[2]
    assert re.search(rf"^\| `{name}[`(]", python, re.MULTILINE)
    if name not in ("CRITERIA", "PRESETS", "__version__"):
        assert (getattr(leanfront, name).__doc__ or "").strip()


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Metrics", METRICS),
        ("Costs", COST_MODELS),
        ("Criteria", CRITERIA),
        ("Samplers", SAMPLERS),
        ("Strategies", STRATEGIES),
        ("Presets", PRESETS),
        ("Recovery", OPTIMISERS),
        ("Targets", BUILTINS),
        ("Audits", {**KINDS, **LEVELS}),
        ("Corruptions", CORRUPTIONS),
    ],
)
def test_every_registered_name_is_documented(title: str, names: dict[str, object], reference: str) -> None:
    section = reference.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert [name for name in names if f"`{name}`" not in section] == []


def test_every_exit_code_and_environment_variable_is_documented(reference: str) -> None:
    from leanfront.cli.exits import DONE, FAILED, INFEASIBLE, INTERRUPTED, WRONG_USAGE

    for code in (DONE, FAILED, WRONG_USAGE, INFEASIBLE, INTERRUPTED):
        assert f"\n| {code} | " in reference
    rooms = [path for path in ROOT.glob("*/*.py") if path.parent.name not in ("tests", "docs", "examples")]
    read = {
        name for path in rooms for name in re.findall(r"LEANFRONT_[A-Z]+", path.read_text(encoding="utf-8"))
    }
    assert read >= {"LEANFRONT_DATABASE", "LEANFRONT_ARTIFACTS", "LEANFRONT_CACHE"}
    assert [name for name in sorted(read) if f"| `{name}` |" not in reference] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        aim = page.parent / file if file else page
        assert aim.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", aim.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_json_block_is_json(page: Path) -> None:
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)


def keys(value: object) -> set[str]:
    """All keys of a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_the_documented_candidate_has_the_keys_of_a_real_one(reference: str) -> None:
    from leanfront.core.compressors import Configuration
    from leanfront.core.objectives import Measurement
    from leanfront.core.search import Candidate, SearchRecord

    configuration = Configuration(channels={"conv1": 12}, weight_bits={"conv1": 4, "linear": 8})
    real = Candidate(
        "mine", 16, configuration, measurements=(Measurement("accuracy", 0.9, "test"),)
    ).to_json()
    documented = json.loads(
        next(b.text for b in blocks(ROOT / "docs" / "reference.md") if b.language == "json")
    )
    assert keys(documented) == keys(real)
    assert Configuration.from_json(documented["configuration"]).to_json() == documented["configuration"]
    record = SearchRecord("mine", "digits", "f" * 64, ("accuracy", "memory"), {}, {})
    row = next(line for line in reference.splitlines() if line.startswith("| `searches --json`"))
    assert [key for key in record.to_json() if f'"{key}"' not in row] == []


def test_the_picture_is_valid_and_made_by_its_script() -> None:
    picture = load("make_picture").picture
    frontier = {
        "search": "a<b",
        "dense": {"accuracy": 0.9, "memory_bytes": 1000, "macs": 5000, "measurements": []},
        "candidates": [point(1, 0.5, 100, 1000), point(2, 0.895, 400, 3000)],
    }
    root = ElementTree.fromstring(picture(frontier))
    texts = [element.text or "" for element in root.iter()]
    assert "candidate 2: 2.5x smaller" in texts
    assert sum(element.tag.endswith("circle") for element in root.iter()) == 2
    with pytest.raises(ValueError, match="no candidate"):
        picture({**frontier, "candidates": []})
    committed = ElementTree.fromstring((ROOT / "docs" / "frontier.svg").read_text(encoding="utf-8"))
    # As many points as the README says.
    shown = sum(element.tag.endswith("circle") for element in committed.iter())
    assert f"![{shown} candidates" in (ROOT / "README.md").read_text(encoding="utf-8")


def point(number: int, accuracy: float, memory: int, macs: int) -> dict[str, object]:
    return {
        "id": number,
        "accuracy": accuracy,
        "accuracy_low": accuracy - 0.05,
        "accuracy_high": min(1.0, accuracy + 0.05),
        "memory_bytes": memory,
        "macs": macs,
        "measurements": [],
    }
