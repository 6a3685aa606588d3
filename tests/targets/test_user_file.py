"""Users' own files: found, loaded, called, and named when they fail."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from leanfront.core.targets import resolve, user_file
from leanfront.core.targets.user_file import load
from leanfront.errors import TargetError, UsageError

GOOD = """
    import torch
    from torch import nn
    from leanfront import Target

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x):
            return self.linear(x)

    def _data(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(40, 4, generator=generator), torch.arange(40) % 3

    def target(seed="1", *, scale="1"):
        torch.manual_seed(int(seed))
        return Target(model=Net(), example_input=torch.zeros(1, 4), validation=_data(1), test=_data(2))

    def number():
        return 3

    def broken():
        values = {}
        return values["absent"]

    def overlapping():
        return Target(model=Net(), example_input=torch.zeros(1, 4), validation=_data(1), test=_data(1))

    def needs(path):
        return target()

    def leaves():
        raise SystemExit(3)
"""


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(user_file, "_BESIDE", user_file._Beside())
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("_leanfront_target_") or name in (
            "helper_beside",
            "parts",
            "layers",
            "layers.late",
        ):
            del sys.modules[name]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "my model.py", GOOD)


def line(text: str) -> int:
    """The number of the line of `GOOD` that holds the text."""
    return 1 + next(number for number, each in enumerate(GOOD.splitlines()) if text in each)


def write(path: Path, text: str) -> Path:
    path.write_text(textwrap.dedent(text))
    return path


def test_resolves_and_pickles(good: Path) -> None:
    target = resolve(f"{good}:target")
    assert target.reference == f"{good}:target"
    assert target.name == "Net"
    assert target.cuts == ("calibration: 10 samples cut from validation, which keeps 30",)
    again = pickle.loads(pickle.dumps(target))
    assert again.fingerprint == target.fingerprint
    assert type(again.model) is type(target.model)


def test_options_are_keyword_arguments(good: Path) -> None:
    assert resolve(f"{good}:target?seed=1").fingerprint == resolve(f"{good}:target").fingerprint
    assert resolve(f"{good}:target?seed=2&scale=3").fingerprint != resolve(f"{good}:target").fingerprint
    with pytest.raises(UsageError, match="unknown option 'speed'; the function takes seed, scale"):
        resolve(f"{good}:target?speed=2")
    with pytest.raises(UsageError, match=r"the function needs path; .*:needs\?path=\.\.\.'"):
        resolve(f"{good}:needs")


def test_relative_paths(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(good.parent)
    assert resolve("my model.py:target").reference == "my model.py:target"
    assert resolve("./my%20model.py:target").name == "Net"


def test_an_unchanged_file_is_loaded_once_and_a_changed_one_again(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "value = 1")
    assert load(str(path)) is load(str(path))
    write(path, "value = 234")
    assert load(str(path)).value == 234


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    modules = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        modules.append(load(str(write(tmp_path / folder / "mine.py", f"value = '{folder}'"))))
    assert [module.value for module in modules] == ["a", "b"]


def test_it_imports_the_files_beside_it_and_leaves_the_path_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "helper_beside.py", "value = 5")
    # Installed packages come first, so that no file of a user stands before what leanfront needs.
    write(tmp_path / "numpy.py", "raise RuntimeError('the wrong one')")
    path = write(tmp_path / "mine.py", "import helper_beside, leanfront, numpy\nvalue = helper_beside.value")
    path_before = list(sys.path)
    assert load(str(path)).value == 5
    assert sys.path == path_before
    # In a fresh process nothing of ours is imported yet.
    code = (
        f"from leanfront.core.targets.user_file import load; load({str(path)!r})\n"
        "import leanfront.core.search, leanfront.core.storage; print('right')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path.parent
    )
    assert done.stdout == "right\n", done.stderr


def test_each_file_imports_what_lies_beside_it(tmp_path: Path) -> None:
    """A worker has targets of several folders, which may hold files of one name."""
    paths = []
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder / "layers").mkdir(parents=True)
        write(tmp_path / folder / "parts.py", f"value = {number}")
        write(tmp_path / folder / "layers" / "__init__.py", "")
        write(tmp_path / folder / "layers" / "late.py", f"value = {number + 10}")
        late = "def late():\n    import layers.late\n    return layers.late.value\n"
        paths.append(str(write(tmp_path / folder / "mine.py", f"import parts\nvalue = parts.value\n{late}")))
    first, second = (load(path) for path in paths)
    assert (first.value, second.value) == (0, 1)
    for module, path, value in ((first, paths[0], 10), (second, paths[1], 11), (first, paths[0], 10)):
        assert load(path) is module
        assert module.late() == value
        assert sys.modules["parts"].value == value - 10


def test_missing_files_and_functions(good: Path) -> None:
    with pytest.raises(
        TargetError, match=r"there is no file '.*my_model\.py'; did you mean '.*my model\.py'"
    ):
        resolve(f"{good.parent}/my_model.py:target")
    with pytest.raises(TargetError, match="there is no file"):
        resolve("nowhere/at/all.py:target")
    with pytest.raises(
        TargetError, match=r"no function 'tarjet'; did you mean target.* it has broken, leaves, needs, number"
    ):
        resolve(f"{good}:tarjet")
    with pytest.raises(UsageError, match=r"names no function: write .*:broken; it has broken"):
        resolve(str(good))


def test_a_file_without_functions(tmp_path: Path) -> None:
    path = write(tmp_path / "empty.py", "from pathlib import Path\nvalue = 1")
    with pytest.raises(TargetError, match="no function 'target'; it has none: write def target"):
        resolve(f"{path}:target")


def test_failures_name_the_users_line(good: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TargetError, match=rf":broken failed: .*my model\.py:{line('absent')}: KeyError: 'absent'"
    ):
        resolve(f"{good}:broken")
    with pytest.raises(
        TargetError, match=rf"my model\.py:{line('test=_data(1)')}: validation and test overlap: 40"
    ):
        resolve(f"{good}:overlapping")
    with pytest.raises(TargetError, match=rf"my model\.py:{line('SystemExit')}: SystemExit: 3"):
        resolve(f"{good}:leaves")
    path = write(tmp_path / "a.py", "import torch\nimport not_installed_anywhere")
    with pytest.raises(TargetError, match=r"failed when it was loaded: .*a\.py:2: ModuleNotFoundError"):
        resolve(f"{path}:target")
    path = write(tmp_path / "b.py", "def target(:\n  pass")
    with pytest.raises(TargetError, match=r"b\.py:1: SyntaxError: "):
        resolve(f"{path}:target")


def test_anything_else_returned_is_named(good: Path) -> None:
    with pytest.raises(
        TargetError, match=r"number returned a int, not a leanfront\.Target; end it with return"
    ):
        resolve(f"{good}:number")


def test_an_interrupt_passes(tmp_path: Path) -> None:
    path = write(tmp_path / "c.py", "def target():\n    raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        resolve(f"{path}:target")
    assert torch.get_num_threads() > 0
