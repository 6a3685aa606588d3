"""What a user installs: the wheel's contents, its command, its types; and what the scripts do with it."""

from __future__ import annotations

import configparser
import email
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.wheel import build_wheel, shared_wheel

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(shared_wheel(tmp_path_factory)) as archive:
        yield archive


def test_the_wheel_is_for_every_platform(wheel: zipfile.ZipFile, project: dict[str, Any]) -> None:
    version = project["project"]["version"]
    assert wheel.filename is not None
    assert Path(wheel.filename).name == f"leanfront-{version}-py3-none-any.whl"


def test_the_wheel_holds_every_module_and_nothing_else(
    wheel: zipfile.ZipFile, project: dict[str, Any]
) -> None:
    """Under one name: the folders at the top lie in leanfront/core, once."""
    places = {ROOT / "leanfront": Path("leanfront")}
    for name, folder in project["tool"]["setuptools"]["package-dir"].items():
        places[ROOT / folder] = Path(*name.split("."))
    wanted = {
        str(place / path.relative_to(source))
        for source, place in places.items()
        for path in source.rglob("*")
        if path.is_file() and path.suffix in (".py", ".pyi", ".typed") and not path.is_symlink()
    }
    # What the server sends of the dashboard, but for caches.
    wanted |= {
        str(path.relative_to(ROOT))
        for path in (ROOT / "leanfront" / "dashboard").rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert "leanfront/dashboard/vendor/LICENSE.plotly" in wanted
    assert "leanfront/core/search/__init__.pyi" in wanted
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == wanted
    assert {name.partition("/")[0] for name in held} == {"leanfront"}


def test_the_wheel_of_a_checkout_without_links_is_the_same(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Git can be told not to make links, and does not where the system has none."""
    with zipfile.ZipFile(build_wheel(tmp_path, links=False)) as other:
        contents = [
            {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
            for archive in (wheel, other)
        ]
    assert contents[0] == contents[1]


def test_the_wheel_carries_licence_readme_and_requirements(
    wheel: zipfile.ZipFile, project: dict[str, Any]
) -> None:
    names = wheel.namelist()
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    fields = email.message_from_bytes(wheel.read(metadata))
    assert fields["Name"] == "leanfront"
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["Requires-Python"] == ">=3.11"
    assert str(fields.get_payload()).startswith("# leanfront\n")
    (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
    text = wheel.read(licence).decode()
    assert text == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text
    required = {
        value.partition(";")[0] for value in fields.get_all("Requires-Dist", []) if "extra ==" not in value
    }
    assert len(required) == len(project["project"]["dependencies"])
    # Their releases come in matching pairs, which the resolver must be free to find.
    assert "torchvision" in required
    assert not any(value.startswith("torch") and "=" in value.replace(">=", "") for value in required)


def test_the_wheel_has_the_command(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    parser = configparser.ConfigParser()
    parser.read_string(wheel.read(name).decode())
    assert dict(parser["console_scripts"]) == {"leanfront": "leanfront.cli:main"}


def test_the_installed_command_says_its_version(project: dict[str, Any]) -> None:
    command = Path(sys.executable).with_name("leanfront")
    if not command.is_file():
        pytest.skip(f"leanfront is not installed beside {sys.executable}: run scripts/test")
    done = subprocess.run([str(command), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"leanfront, version {project['project']['version']}"


def test_torch_and_torchvision_are_a_matching_pair() -> None:
    """torchvision's operators load only beside the build of torch that they were made for."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9]), 0.5)
    assert kept.tolist() == [1]


FAKE_PYTHON = """#!/usr/bin/env bash
# Stands for a Python that has everything already, and writes down how it was called.
printf '%s\\n' "$*" >>"$CALLS"
if [[ "$*" == "-m pip install"* && -n "${BREAK:-}" ]]; then echo "ERROR: no such release" >&2; exit 1; fi
if [[ $1 == - ]]; then exec "$REAL" "$@"; fi
if [[ $1 == -c ]]; then exec "$REAL" "$@"; fi
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with an environment whose Python only writes down its calls: installing takes gigabytes."""
    root = tmp_path / "with space" / "repository"
    shutil.copytree(ROOT / "scripts", root / "scripts")
    shutil.copytree(ROOT / ".ci", root / ".ci")
    shutil.copy(ROOT / "pyproject.toml", root)
    binaries = root / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").write_text(FAKE_PYTHON, encoding="utf-8")
    for tool in ("leanfront", "ruff", "mypy"):
        text = (
            f'#!/usr/bin/env bash\nprintf "%s\\n" "{tool} $*" >>"$CALLS"\n[[ {tool} != "${{FAILING:-}}" ]]\n'
        )
        (binaries / tool).write_text(text, encoding="utf-8")
    for file in binaries.iterdir():
        file.chmod(0o755)
    return root


def call(checkout: Path, script: str, *arguments: str, **settings: str) -> tuple[int, list[str], str]:
    """Run a script of a checkout: exit code, calls that were made, standard error."""
    calls = checkout.parent / "calls"
    calls.write_text("", encoding="utf-8")
    own = {key: value for key, value in os.environ.items() if key not in ("LEANFRONT_VENV", "PYTHON")}
    own |= {
        "CALLS": str(calls),
        "REAL": sys.executable,
        "VIRTUAL_ENV": "/nowhere",
        "LEANFRONT_BROWSER": "bash",
        **settings,
    }
    done = subprocess.run(
        ["bash", str(checkout / script), *arguments],
        cwd=checkout.parent,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    made = calls.read_text(encoding="utf-8").splitlines()
    return done.returncode, [line for line in made if not line.startswith(("-c ", "- "))], done.stderr


def installs(calls: list[str]) -> list[str]:
    """What pip was told to install."""
    return [line.rpartition(" ")[2] for line in calls if line.startswith("-m pip install")]


def test_the_demo_installs_once_and_passes_options_on(checkout: Path) -> None:
    code, calls, said = call(checkout, "scripts/demo", "--trials", "5")
    assert code == 0, said
    assert installs(calls) == ["."]
    assert calls[-1] == "leanfront demo --trials 5"
    assert "activate" in said
    code, calls, _ = call(checkout, "scripts/demo")
    assert (code, installs(calls)) == (0, [])


def test_the_tests_install_what_tests_need_which_serves_the_demo(checkout: Path) -> None:
    code, calls, said = call(checkout, "scripts/test", "-m", "not slow")
    assert code == 0, said
    assert installs(calls) == [".[dev]"]
    assert calls[-1].startswith(f"-m pytest --numprocesses {(os.cpu_count() or 0) + 1} --maxprocesses 4 ")
    assert calls[-1].endswith(" -m not slow")
    for script in ("scripts/demo", "scripts/check", "scripts/test"):
        assert installs(call(checkout, script)[1]) == []


def test_without_a_browser_the_tests_say_what_was_not_run(checkout: Path) -> None:
    code, calls, said = call(checkout, "scripts/test", LEANFRONT_BROWSER="none")
    assert code == 0
    assert calls[-1].startswith("-m pytest ")
    assert said.rstrip().splitlines()[-1].startswith("NOT RUN: the tests of the dashboard")
    assert "NOT RUN" not in call(checkout, "scripts/test")[2]


def test_the_demo_does_not_serve_the_tests(checkout: Path) -> None:
    assert installs(call(checkout, "scripts/demo")[1]) == ["."]
    assert installs(call(checkout, "scripts/test")[1]) == [".[dev]"]


def test_a_changed_pyproject_is_installed_again(checkout: Path) -> None:
    call(checkout, "scripts/test")
    with (checkout / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert installs(call(checkout, "scripts/test")[1]) == [".[dev]"]


def test_a_failed_installation_is_shown_and_tried_again(checkout: Path) -> None:
    code, _, said = call(checkout, "scripts/demo", BREAK="1")
    assert code == 1
    assert "no such release" in said
    assert "installation failed" in said
    assert installs(call(checkout, "scripts/demo")[1]) == ["."]


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_all_checks_run_and_any_fails_the_whole(checkout: Path, tool: str) -> None:
    code, calls, _ = call(checkout, "scripts/check")
    assert code == 0
    assert calls[-3:] == ["ruff check .", "ruff format --check .", "mypy "]
    code, calls, _ = call(checkout, "scripts/check", FAILING=tool)
    assert code == 1
    assert calls[-1] == "mypy "


def test_ci_runs_the_tests_even_where_the_checks_fail(checkout: Path) -> None:
    code, calls, said = call(checkout, ".ci/run")
    assert code == 0, said
    assert calls[-1].startswith("-m pytest ")
    code, calls, _ = call(checkout, ".ci/run", FAILING="ruff")
    assert code == 1
    assert calls[-1].startswith("-m pytest ")


def test_another_environment_is_used_and_none_is_overwritten(checkout: Path) -> None:
    shutil.move(checkout / ".venv", checkout.parent / "other")
    code, calls, said = call(checkout, "scripts/demo", LEANFRONT_VENV="other")
    assert code == 0, said
    assert installs(calls) == ["."]
    assert not (checkout / ".venv").exists()
    code, _, said = call(checkout, "scripts/demo", LEANFRONT_VENV="repository")
    assert code == 1
    assert "neither empty nor a virtual environment" in said


def test_a_python_that_does_not_run_is_refused(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    code, _, said = call(checkout, "scripts/demo", PYTHON="python-that-is-not-there")
    assert code == 1
    assert "PYTHON is 'python-that-is-not-there'" in said
    assert not (checkout / ".venv").exists()
