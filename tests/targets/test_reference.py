"""References: what they parse to and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leanfront.core import targets
from leanfront.core.targets import BUILTINS, Target, builtin_targets, resolve
from leanfront.core.targets.builtin import Builtin
from leanfront.errors import UsageError


def test_builtins() -> None:
    names = [name for name, _ in builtin_targets()]
    assert names == [
        "digits",
        "cifar10-resnet20",
        "cifar10-resnet32",
        "cifar10-resnet44",
        "cifar10-resnet56",
        "torchvision:<model>",
        "timm:<model>",
        "transformers:<model>",
    ]
    assert all("\n" not in line and line for _, line in builtin_targets())


def test_resolved_targets_know_their_reference(digits: Target) -> None:
    assert digits.reference == "digits"
    assert resolve(" digits?seed=0 ").reference == "digits?seed=0"
    assert resolve("digits?seed=0").fingerprint == digits.fingerprint


@given(
    values=st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.text(st.characters(exclude_categories=["Cs"])), max_size=3
    )
)
def test_options_are_percent_decoded(values: dict[str, str]) -> None:
    seen: list[Mapping[str, str]] = []

    class Stop(Exception):
        pass

    def build(model: str, options: Mapping[str, str]) -> Target:
        seen.append({"model": model, **options})
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        entry = Builtin("probe:<model>", "", dict.fromkeys("abc", ""), build)
        patch.setitem(BUILTINS, entry.name, entry)
        query = "&".join(f"{key}={quote(value, safe='/+')}" for key, value in values.items())
        with pytest.raises(Stop):
            resolve("probe:m" + ("?" if query else "") + query)
    assert seen == [{"model": "m", **values}]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digit", "there is no target 'digit'; did you mean digits.*built-in: digits, cifar10-resnet20"),
        ("", "there is no target ''"),
        ("quux:resnet18", "there is no target 'quux:resnet18'"),
        ("torchvision", "there is no target 'torchvision'"),
        ("cifar10-resnet21", "did you mean cifar10-resnet"),
        ("digits?speed=3", r"digits: unknown option 'speed'; known: seed \("),
        ("cifar10-resnet20?seed=1", r"unknown option 'seed'; known: data \(.*weights \(.*download \("),
        ("digits?seed", "'seed' is no option; write key=value"),
        ("digits?=3", "'=3' is no option"),
        ("digits?seed=1&seed=2", "the option 'seed' is given twice"),
        ("torchvision:?data=x", "torchvision has no classification model ''"),
    ],
)
def test_bad_references(reference: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(reference)


def test_public_face() -> None:
    assert set(targets.__all__) >= {
        "Split",
        "Target",
        "builtin_targets",
        "resolve",
    }
    assert all(hasattr(targets, name) for name in targets.__all__)


def test_reading_a_reference_leaves_what_computes_alone() -> None:
    """It takes seconds to import, and most commands need none of it."""
    code = (
        "import sys, leanfront.core.targets.reference as r; r.check_reference('digits')\n"
        "print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
