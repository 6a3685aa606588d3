"""The Python face."""

from __future__ import annotations

from pathlib import Path

import pytest

import leanfront
from leanfront.core.targets import Target
from leanfront.errors import InfeasibleError, NotFoundError, TargetError, UsageError


def test_everything_named_is_there() -> None:
    for name in leanfront.__all__:
        assert hasattr(leanfront, name), name


def test_search_select_module(tiny: Target) -> None:
    result = leanfront.search(tiny, trials=40, seed=1)
    assert result.name == "tiny"
    frontier = result.frontier()
    assert frontier == sorted(frontier, key=lambda c: c.memory_bytes or 0)
    best = result.select(max_memory="3KB")
    assert best.memory_bytes is not None
    assert best.memory_bytes <= 3000
    assert best.configuration.digest
    inputs, labels = tiny.validation.tensors()
    measured = float((best.module()(inputs).argmax(1) == labels).float().mean())
    assert measured == pytest.approx(best.accuracy, abs=0.006)  # one sample: batches may round otherwise
    assert Path("leanfront.db").exists()


def test_open_search(finished: str, tiny: Target, tiny_file: Path) -> None:
    result = leanfront.open_search("done", database=finished)
    assert result.record.trials == 60
    # The reference of the target is stored with the search: the module can be made again.
    assert result.frontier()[0].module() is not None
    assert leanfront.open_search("done", database=finished, target=tiny).target() is tiny
    opened = leanfront.open_search("done", database=finished, target=f"{tiny_file}:target")
    assert opened.target().fingerprint == tiny.fingerprint
    assert opened.target() is opened.target()
    with pytest.raises(UsageError, match="there is no target 'tinyy'"):
        leanfront.open_search("done", database=finished, target="tinyy")
    with pytest.raises(UsageError, match="names no function: write"):
        leanfront.open_search("done", database=finished, target=str(tiny_file))
    other = leanfront.open_search("done", database=finished, target=f"{tiny_file}:recoverable")
    with pytest.raises(
        TargetError, match=r"is not the one search 'done' was made on: the train split \(new\) differs"
    ):
        other.target()
    with pytest.raises(NotFoundError, match="done"):
        leanfront.open_search("gone", database=finished)


def test_infeasible_is_explained(finished: str) -> None:
    result = leanfront.open_search("done", database=finished)
    with pytest.raises(InfeasibleError, match="memory_bytes binds") as caught:
        result.select(max_memory=10)
    assert caught.value.selection.nearest is not None  # type: ignore[attr-defined]
    assert result.selection(max_memory=10).feasible is False
    with pytest.raises(UsageError):
        result.select(max_memory="heavy")


def test_tables(finished: str) -> None:
    frontier = leanfront.open_search("done", database=finished).frontier()
    table = frontier.to_pandas()
    assert len(table) == len(frontier)
    assert list(table["memory_bytes"]) == [c.memory_bytes for c in frontier]
    assert {"validation_accuracy", "test_accuracy", "configuration"} <= set(table.columns)


def test_resume_with_a_python_target(tiny: Target) -> None:
    inputs, labels = tiny.validation.tensors()
    own = Target(
        model=tiny.model,
        example_input=tiny.example_input,
        calibration=tiny.calibration,
        validation=(inputs, labels),
        classes=tiny.classes,
        name="own",
    )
    leanfront.search(own, name="a", trials=5)
    with pytest.raises(TargetError, match="Python object"):
        leanfront.resume("a", trials=8)
    with pytest.raises(TargetError, match="Python object"):
        leanfront.open_search("a").target()
    assert leanfront.resume("a", target=own, trials=8).record.trials == 8


def test_names(tiny: Target) -> None:
    assert [leanfront.search(tiny, trials=1).name for _ in range(3)] == ["tiny", "tiny-2", "tiny-3"]
    with pytest.raises(UsageError):
        leanfront.search(tiny, name="a/b", trials=1)


def test_environment_names_the_database(
    tiny: Target, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEANFRONT_DATABASE", f"sqlite:///{tmp_path}/elsewhere.db")
    leanfront.search(tiny, trials=1)
    assert (tmp_path / "elsewhere.db").exists()
    assert not Path("leanfront.db").exists()


def test_dense_weights_are_kept(tiny: Target) -> None:
    import safetensors.torch

    result = leanfront.search(tiny, trials=1)
    digest = result.record.artifact
    assert digest is not None
    (stored,) = [p for p in Path("leanfront-artifacts").rglob("*") if p.is_file() and digest in p.name]
    state = safetensors.torch.load_file(stored)
    assert state.keys() == tiny.model.state_dict().keys()
