"""Searches that recover their frontier's best when their trials are done, killed and interrupted meanwhile."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import leanfront
from leanfront.actions.shelved_files import ShelvedFiles
from leanfront.core.objectives import normalised_hypervolume, objective_values
from leanfront.core.objectives import resolve as resolve_objectives
from leanfront.core.search import Place, Progress, Run, SearchOptions
from leanfront.core.search import start as begin_search
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target, resolve
from leanfront.errors import UsageError
from leanfront.locations import open_shelf
from tests.leanfront.recoveries import checkpoints, wait_for

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def target(tiny_file: Path) -> Target:
    """`tiny` with a training split."""
    return resolve(f"{tiny_file}:recoverable")


def test_a_search_that_recovers(target: Target, tmp_path: Path, tiny: Target) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    result = leanfront.search(target, name="a", trials=8, sampler="random", recover=2, database=url)
    record = result.record
    assert record.state == "done"
    assert record.trials == 8
    tried = FrontierStore(url).recovered("a")
    assert 0 < len(tried) <= 8
    assert record.message is not None
    assert f"{len(tried)} candidates recovered" in record.message
    assert record.hypervolume == pytest.approx(_volume(result, "after"))
    assert record.hypervolume > _volume(result, "before")
    # More trials: the frontier still has what was recovered, and what was tried is not tried again.
    further = leanfront.resume("a", database=url, target=target, trials=11)
    assert further.record.trials == 11
    assert further.record.hypervolume == pytest.approx(_volume(further, "after"))
    again = FrontierStore(url).recovered("a")
    assert [each.id for each in again[: len(tried)]] == [each.id for each in tried]
    assert len({each.parent for each in again}) == len(again) <= 8
    assert check(url).ok
    with pytest.raises(UsageError, match="the target has none"):
        leanfront.search(tiny, name="b", trials=2, recover=1, database=url)
    assert [each.name for each in FrontierStore(url).searches()] == ["a"]


def _volume(result: leanfront.SearchResult, stage: str) -> float:
    record = result.record
    objectives = resolve_objectives(record.objectives)
    values = [objective_values(objectives, each.measurements)[0] for each in result.frontier(stage=stage)]
    return float(normalised_hypervolume(values, objectives, record.reference, log2=False))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def undisturbed(target: Target, tmp_path_factory: pytest.TempPathFactory) -> FrontierStore:
    """With the search `whole`, which nobody interrupted."""
    url = f"sqlite:///{tmp_path_factory.mktemp('whole')}/whole.db"
    leanfront.search(target, name="whole", trials=6, sampler="random", recover=6, database=url, device="cpu")
    return FrontierStore(url)


def same_as_undisturbed(store: FrontierStore, undisturbed: FrontierStore) -> None:
    mine, whole = (
        [(each.configuration.digest, each.state, each.accuracy) for each in own.recovered(name)]
        for own, name in ((store, "mine"), (undisturbed, "whole"))
    )
    assert mine == whole
    for field in ("state", "message", "trials", "frontier_size", "hypervolume", "hypervolume_log2"):
        assert getattr(store.search("mine"), field) == getattr(undisturbed.search("whole"), field)
    assert check(store.url).ok


@pytest.mark.slow
def test_a_search_killed_while_it_recovers_goes_on(
    undisturbed: FrontierStore, tiny_file: Path, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "own.db"
    url = f"sqlite:///{path}"
    options = ("--trials", "6", "--sampler", "random", "--recover", "6", "--database", url, "--device", "cpu")
    process = start("search", f"{tiny_file}:recoverable", "--name", "mine", *options)
    wait_for(lambda: path.exists() and bool(checkpoints(url)), process)
    store = FrontierStore(url)

    def within_the_next() -> bool:
        # What was just stored has its own checkpoint for a moment longer.
        done = {each.parent for each in store.recovered("mine")}
        return bool(done) and any(int(name.partition("-")[0]) not in done for name in checkpoints(url))

    wait_for(within_the_next, process)
    process.kill()
    process.communicate(timeout=60)
    before = store.recovered("mine")
    assert store.search("mine").state == "running"
    leanfront.resume("mine", database=url, device="cpu")
    assert [each.id for each in store.recovered("mine")[: len(before)]] == [each.id for each in before]
    assert checkpoints(url) == []
    same_as_undisturbed(store, undisturbed)


def test_a_search_interrupted_while_it_recovers_goes_on(
    undisturbed: FrontierStore, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second training: it says how far it is before the search ends."""
    url = f"sqlite:///{tmp_path}/own.db"
    store = FrontierStore(url)
    files = ShelvedFiles(store, open_shelf(store))
    told = 0

    def interrupts(progress: Progress) -> None:
        nonlocal told
        if progress.stage == "recovery" and store.recovered("mine"):
            told += 1
            if told == 1:
                signal.raise_signal(signal.SIGINT)

    options = SearchOptions(trials=6, sampler="random", recover=6)
    monkeypatch.setattr("leanfront.core.search.lifecycle.TELL", 0.0)
    with pytest.raises(KeyboardInterrupt):
        begin_search(
            target, store, "mine", options, Run(place=Place(device="cpu"), files=files, report=interrupts)
        )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert store.search("mine").state == "cancelled"
    assert len(store.recovered("mine")) == told == 1
    assert len(checkpoints(url)) == 1
    leanfront.resume("mine", database=url, target=target, device="cpu")
    same_as_undisturbed(store, undisturbed)
