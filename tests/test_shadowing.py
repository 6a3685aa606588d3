"""Nothing of a user can shadow us, nor we anything of theirs: files of our names beside scripts and targets."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from tests.wheel import shared_wheel

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("targets", "compressors", "cost_models", "objectives", "search", "storage", "audit")
FOLDERS = ("storage", "audit", "compressors")
"""Those of them that the user has as packages; the others are modules."""

TARGET = """
    import torch, leanfront
    import audit, compressors, cost_models, objectives, search, storage, targets
    from storage.deeper import VALUE

    for module in (audit, compressors, cost_models, objectives, search, storage, targets):
        assert module.MINE == module.__name__, module

    def target() -> leanfront.Target:
        torch.manual_seed(0)
        layers = torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
        inputs, labels = torch.randn(60, 1, 4, 4), torch.arange(60) % 3
        return leanfront.Target(
            model=torch.nn.Sequential(*layers), example_input=inputs[:1], calibration=(inputs[:20], labels[:20]),
            validation=(inputs[20:40], labels[20:40]), classes=list("abc"), name=VALUE,
        )
"""
SCRIPT = """
    import search, storage, targets
    import leanfront
    from leanfront.core.storage import FrontierStore
    from my_model import target

    if __name__ == "__main__":
        assert search.MINE == "search" and storage.MINE == "storage" and targets.MINE == "targets"
        result = leanfront.search(target(), trials=3, name="mine", workers=2, bits=[4, 8])
        assert len(result.frontier()) >= 1, result.record
        assert [record.name for record in FrontierStore("sqlite:///leanfront.db").searches()] == ["mine"]
        print("searched", leanfront.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Ways that leanfront can be there -> what stands first on the path."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(shared_wheel(tmp_path_factory)) as wheel:
        wheel.extractall(folder / "site")
    return {"wheel": [str(folder / "site")], "editable": [], "checkout": [str(ROOT)]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder that holds files named as all of our rooms."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for room in ROOMS:
        text = f"MINE = {room!r}\n"
        if room in FOLDERS:
            (folder / room).mkdir()
            (folder / room / "__init__.py").write_text(text, encoding="utf-8")
            (folder / room / "deeper.py").write_text(f"VALUE = 'deep in {room}'\n", encoding="utf-8")
        else:
            (folder / f"{room}.py").write_text(text, encoding="utf-8")
    (folder / "my_model.py").write_text(textwrap.dedent(TARGET), encoding="utf-8")
    (folder / "script.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    return folder


def run(arguments: list[str], folder: Path, path: list[str]) -> str:
    """Standard output of a Python process in a folder."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join(path)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


WAYS = pytest.mark.parametrize("way", ["wheel", "editable", "checkout"])


@WAYS
def test_a_script_beside_files_of_our_names(home: Path, installed: dict[str, list[str]], way: str) -> None:
    """It imports its own and ours, searches in processes that import both again, and reads what was stored."""
    said = run(["script.py"], home, installed[way])
    where = Path(said.split()[-1]).resolve()
    assert where.is_relative_to(Path(installed[way][0]) if way == "wheel" else ROOT)


@pytest.mark.parametrize(("way", "elsewhere"), [("wheel", False), ("editable", True)])
def test_a_target_file_beside_files_of_our_names(
    home: Path, tmp_path: Path, installed: dict[str, list[str]], way: str, elsewhere: bool
) -> None:
    folder = tmp_path if elsewhere else home
    said = run(["-m", "leanfront", "inspect", f"{home / 'my_model.py'}:target"], folder, installed[way])
    assert "channel groups" in said


@WAYS
def test_the_folder_on_the_path(home: Path, installed: dict[str, list[str]], way: str) -> None:
    said = run(["-m", "leanfront", "--version"], home, [".", *installed[way]])
    assert said.startswith("leanfront, version ")
    assert "searches" in run(["-m", "leanfront", "searches", "--help"], home, [".", *installed[way]])


def test_nothing_of_ours_has_a_common_name(tmp_path: Path, installed: dict[str, list[str]]) -> None:
    (site,) = installed["wheel"]
    tops = {path.name for path in Path(site).iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"leanfront"}
    code = f"import importlib.util as u; print([n for n in {ROOMS!r} if u.find_spec(n) is not None])"
    for way in ("wheel", "editable"):
        assert run(["-c", code], tmp_path, installed[way]).strip() == "[]"
