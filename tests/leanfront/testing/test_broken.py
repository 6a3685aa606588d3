"""Every test of the suites finds a mistake: implementations with one each are run by pytest as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from leanfront.testing import CostModelConformance, CriterionConformance, StoreConformance
from tests.leanfront.testing.broken import CAUGHT, LEFT_OUT

ROOT = Path(__file__).resolve().parents[3]
SUITES = (StoreConformance, CostModelConformance, CriterionConformance)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[ElementTree.Element]:
    """What pytest reports of all of them."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    file = Path(__file__).with_name("broken.py").relative_to(ROOT)
    wanted = [f"{file}::{name}::{test}" for name, tests in CAUGHT.items() for test in tests]
    wanted += [f"{file}::{name}" for name in LEFT_OUT]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *wanted],
        cwd=ROOT,
        env={**own, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return list(ElementTree.parse(report).getroot().iter("testcase"))


def named(case: ElementTree.Element) -> tuple[str, str]:
    """A test's class and name."""
    return case.attrib["classname"].rpartition(".")[2], case.attrib["name"].partition("[")[0]


@pytest.fixture(scope="module")
def failed(cases: list[ElementTree.Element]) -> set[tuple[str, str]]:
    """Tests that failed. Where a fixture breaks, pytest reports an error: no test has found anything."""
    return {named(case) for case in cases if case.find("failure") is not None}


@pytest.mark.parametrize("name", CAUGHT)
def test_a_mistake_is_found(failed: set[tuple[str, str]], name: str) -> None:
    assert [test for test in CAUGHT[name] if (name, test) not in failed] == []


@pytest.mark.parametrize("suite", SUITES)
def test_every_test_of_a_suite_finds_something(suite: type) -> None:
    tests = {name for name in vars(suite) if name.startswith("test_")}
    assert len(tests) > 5
    assert tests - {test for names in CAUGHT.values() for test in names} == set()


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_must_be_overridden_says_so(cases: list[ElementTree.Element], name: str) -> None:
    found = [case.find("error") for case in cases if named(case)[0] == name]
    assert len(found) > 10
    texts = [(error.text or "") if error is not None else "" for error in found]
    assert all("NotImplementedError: override the fixture `" in text for text in texts)


def test_without_pytest_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['pytest'] = None\nimport leanfront.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last == "ImportError: leanfront.testing needs pytest: pip install 'leanfront[testing]'"
    assert "ModuleNotFoundError" not in done.stderr


def test_a_failing_suite_shows_what_it_compared() -> None:
    from leanfront.testing import criteria, stores

    # pytest's own loader, which rewrites `assert`, has read them.
    assert {type(module.__loader__).__name__ for module in (criteria, stores)} == {"AssertionRewritingHook"}
