from __future__ import annotations

import os
import subprocess
import sys

import pytest

from leanfront.core.search.processes import PRELOADED, context, executor

SERVED = sys.platform == "linux"


def test_processes_are_forked_from_a_server_where_there_can_be_one() -> None:
    assert context().get_start_method() == ("forkserver" if SERVED else "spawn")


TOUCHED = """
import sys, torch

def touched(*arguments, **named):
    raise SystemExit("CUDA was touched")

for name in ("init", "is_available", "device_count", "current_device", "_lazy_init", "get_device_name"):
    setattr(torch.cuda, name, touched)
for name in ("_cuda_init", "_cuda_getDeviceCount", "_cuda_getDevice", "_cuda_setDevice"):
    if hasattr(torch._C, name):
        setattr(torch._C, name, touched)
import importlib
for module in sys.argv[1:]:
    importlib.import_module(module)
print("untouched")
"""


def test_what_the_server_loads_does_not_touch_cuda() -> None:
    """A process that is forked after that cannot use it."""
    done = subprocess.run(
        [sys.executable, "-c", TOUCHED, *PRELOADED], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "untouched", done.stderr


def nothing() -> None:
    """An initializer."""


def loaded(name: str) -> bool:
    """Whether a process has a module, before anything asked it for one."""
    return name in sys.modules


def variable(name: str) -> str | None:
    """A variable of a process's environment."""
    return os.environ.get(name)


@pytest.fixture
def _more(monkeypatch: pytest.MonkeyPatch) -> None:
    with executor(1, nothing) as first:
        assert first.submit(variable, "LEANFRONT_TEST_OF_PROCESSES").result() is None
    monkeypatch.setenv("LEANFRONT_TEST_OF_PROCESSES", "set since")


@pytest.mark.usefixtures("_more")
def test_a_process_has_torch_already_and_this_process_s_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was set or unset after the server was started."""
    with executor(2, nothing) as processes:
        assert processes.submit(loaded, "torch").result() == SERVED
        assert processes.submit(variable, "LEANFRONT_TEST_OF_PROCESSES").result() == "set since"
    monkeypatch.delenv("LEANFRONT_TEST_OF_PROCESSES")
    with executor(1, nothing) as processes:
        assert processes.submit(variable, "LEANFRONT_TEST_OF_PROCESSES").result() is None
