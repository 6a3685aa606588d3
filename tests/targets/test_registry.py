"""The operator's targets: names, references, files of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from leanfront.core.targets.registry import Registered, Registry
from leanfront.errors import UsageError


def test_assignments_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text(
        '[targets]\nmine = "models/none.py:target?depth=3&x=a%26b"\n'
        '"net.v2" = {target = "cifar10-resnet20?data=a&weights=b", description = "ResNet-20"}\n',
        encoding="utf-8",
    )
    # Neither file nor data exist: whether they do shows where a worker loads them.
    registry = Registry.of(("digits=digits?seed=3",), file)
    assert [each.name for each in registry] == ["mine", "net.v2", "digits"]
    assert registry.reference("digits") == "digits?seed=3"
    assert registry.targets["net.v2"].description == "ResNet-20"
    assert "mine" in registry
    assert "none" not in registry
    assert len(registry) == 3
    with pytest.raises(UsageError, match=r"mine, net\.v2, digits"):
        registry.reference("none")


def test_nothing_is_registered_unasked() -> None:
    assert len(Registry()) == len(Registry.of()) == 0
    with pytest.raises(UsageError, match="none is registered"):
        Registry().reference("digits")


@pytest.mark.parametrize(
    "assignment",
    [
        "",
        "digits",
        "=digits",
        "a=",
        "a b=digits",
        "../x=digits",
        ".a=digits",
        "a\nb=digits",
        "ä=digits",
        "x" * 65 + "=digits",
        "a=nothing",
        "a=file.py",
        "a=digits?x=1",
        "a=digits?seed",
        "a=torchvision",
    ],
)
def test_wrong_assignments(assignment: str) -> None:
    with pytest.raises(UsageError):
        Registry.of((assignment,))


def test_a_name_twice(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    file.write_text('[targets]\na = "digits"\n', encoding="utf-8")
    for assignments in (("a=digits",), ("b=digits", "b=digits")):
        with pytest.raises(UsageError, match="twice"):
            Registry.of(assignments, file)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "targets = 3",
        "[targets",
        '[target]\na = "digits"',
        '[targets]\na = "digits"\n[other]\nb = 1',
        "[targets]\na = 3",
        "[targets]\na = {}",
        '[targets]\na = {target = "digits", code = "x"}',
        "[targets]\na = {target = 3}",
        '[targets]\na = {target = "digits", description = ["x"]}',
        '[targets]\na = {target = "digits", description = "two\\nlines"}',
        '[targets]\n"" = "digits"',
        '[targets]\na = "nothing"',
        "\xff",
    ],
)
def test_wrong_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "targets.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError):
        Registry.of((), file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(UsageError, match="cannot be read"):
            Registry.of((), file)


def test_a_registered_target_is_checked() -> None:
    assert Registered("a", "digits").description == ""
    with pytest.raises(UsageError, match="no target 'nothing'"):
        Registered("a", "nothing")
