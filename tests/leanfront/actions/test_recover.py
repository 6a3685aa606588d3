"""Recovery through Python and the command line: stored with its file or not at all, found again, gone on with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

import leanfront
from leanfront.actions.shelved_files import ShelvedFiles
from leanfront.core.compressors import Recovery, recover
from leanfront.core.compressors.artifact.packed_file import read, write
from leanfront.core.compressors.exchange.formats import PACKED
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.search import Evaluator, Recoverer, RecoveryProgress
from leanfront.core.search.attempt import BEFORE, LIMIT, MINUTES, PREDICTED
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target, resolve
from leanfront.errors import ArtifactError, CompressionError, StorageError, TargetError, UsageError
from leanfront.locations import open_shelf
from tests.leanfront.commands import run
from tests.leanfront.recoveries import checkpoints, wait_for

Start = Callable[..., "subprocess.Popen[str]"]
QUICK = Recovery(epochs=2, batch_size=32, learning_rate=5e-3)
SETTINGS: dict[str, Any] = {"batch_size": 32, "learning_rate": 5e-3, "device": "cpu"}


@pytest.fixture(scope="module")
def target(tiny_file: Path) -> Target:
    """`tiny` with a training split."""
    return resolve(f"{tiny_file}:recoverable")


@pytest.fixture(scope="module")
def searched(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of one search, `mine`, of 12 trials."""
    folder = tmp_path_factory.mktemp("searched")
    leanfront.search(target, name="mine", trials=12, sampler="random", database=f"sqlite:///{folder}/own.db")
    return folder


@pytest.fixture
def url(searched: Path, tmp_path: Path) -> str:
    """That database and its files, this test's own."""
    return f"sqlite:///{shutil.copytree(searched, tmp_path / 'own')}/own.db"


@pytest.fixture
def result(url: str, target: Target) -> leanfront.SearchResult:
    return leanfront.open_search("mine", database=url, target=target)


@pytest.fixture
def worst(result: leanfront.SearchResult) -> leanfront.Candidate:
    """The frontier member that has lost the most."""
    return min(result.frontier(), key=lambda candidate: candidate.accuracy or 0)


def answer(*arguments: str) -> Any:
    found = run(*arguments, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def parts(url: str, target: Target) -> tuple[FrontierStore, ShelvedFiles, Recoverer]:
    store = FrontierStore(url)
    files = ShelvedFiles(store, open_shelf(store))
    evaluator = Evaluator(target, derive(target.model, target.example_input))
    return store, files, Recoverer(store, "mine", evaluator, files)


def test_a_recovered_candidate(
    result: leanfront.SearchResult, worst: leanfront.Candidate, url: str, target: Target
) -> None:
    made = worst.recover(2, **SETTINGS)
    assert (made.parent, made.number, made.search) == (worst.id, worst.number, "mine")
    assert made.accuracy is not None
    assert made.accuracy > (worst.accuracy or 0)
    before = made.measurement(BEFORE)
    dense = worst.measurement("accuracy")
    assert before is not None
    assert dense is not None
    assert (before.value, before.low, before.high, before.count) == (
        dense.value,
        dense.low,
        dense.high,
        dense.count,
    )
    assert made.configuration == worst.configuration.change(recovery=(QUICK.to_json(),))
    assert made.kept == worst.kept
    for cost in ("memory_bytes", "macs", "bops", "activation_memory_bytes"):
        assert made.value(cost) == worst.value(cost)
    assert made.measurement("accuracy", "test") is not None
    found = made.measurement("accuracy")
    assert found is not None
    assert found.low is not None
    assert found.count == len(target.validation)
    # It is on the frontier, in the place of its parent, which is still on the one before recovery.
    assert made.on_frontier
    members = {each.id for each in result.frontier()}
    assert made.id in members
    assert worst.id not in members
    assert worst.id in {each.id for each in result.frontier(stage="before")}
    assert check(url).ok
    assert checkpoints(url) == []
    # Its file is what it says, and what it is run, written and verified from.
    verification = made.verify()
    assert verification.ok, verification.broken
    assert {"sha256", "configuration", "file_bytes", "accuracy"} <= {c.name for c in verification.claims}
    evaluator = Evaluator(target, derive(target.model, target.example_input))
    measured = {m.name: m.value for m in evaluator.measure(made.module(), "validation")}
    assert measured["accuracy"] == made.accuracy
    packed = made.export("recovered.safetensors")
    assert packed.stat().st_size == made.file_bytes
    loaded = leanfront.load(packed, target)
    own = {m.name: m.value for m in evaluator.measure(loaded, "validation")}
    assert own["accuracy"] == made.accuracy
    session = onnxruntime.InferenceSession(made.export("recovered.onnx"))
    images, labels = target.validation.tensors()
    (scores,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    right = (torch.from_numpy(scores).argmax(1) == labels).double().mean()
    assert float(right) == pytest.approx(made.accuracy, abs=0.011)
    program = torch.export.load(made.export("recovered.pt2")).module()
    right = (program(images).argmax(1) == labels).double().mean()
    assert float(right) == pytest.approx(made.accuracy, abs=0.011)


def test_asked_again_it_is_found(worst: leanfront.Candidate, url: str) -> None:
    made = worst.recover(2, **SETTINGS)
    begin = FrontierStore(url).search("mine")
    again = worst.recover(2, **SETTINGS)
    assert again.id == made.id
    assert FrontierStore(url).search("mine") == begin
    assert again.seconds == made.seconds
    other = worst.recover(2, seed=1, **SETTINGS)
    assert other.id != made.id
    # A recovered one can be recovered further; from its file alone.
    further = made.recover(1, **SETTINGS)
    if further.id != made.id:
        assert further.parent == made.id
        assert len(further.configuration.recovery) == 2
        assert further.value(BEFORE) == made.accuracy
        assert further.verify().ok


def test_time_limits(worst: leanfront.Candidate, result: leanfront.SearchResult) -> None:
    made = worst.recover(100_000, minutes=0.04, **SETTINGS)
    assert made.value(LIMIT) == 0.04
    assert made.parent == worst.id
    (trained,) = made.configuration.recovery
    assert 0 < trained["steps"] < 100_000
    # As much time again finds it, more time does not; so many steps in any time do.
    assert worst.recover(100_000, minutes=0.04, **SETTINGS).id == made.id
    assert worst.recover(100_000, minutes=0.02, **SETTINGS).id == made.id
    assert worst.recover(100_000, steps=trained["steps"], **SETTINGS).id == made.id
    assert worst.recover(100_000, minutes=0.08, **SETTINGS).id != made.id
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="minutes must be a finite number above 0"):
            worst.recover(1, minutes=bad, **SETTINGS)
    assert worst.recover(7, minutes=1e-9, **SETTINGS) is worst


def test_where_nothing_is_gained_the_candidate_comes_back(
    result: leanfront.SearchResult, worst: leanfront.Candidate, url: str
) -> None:
    hopeless: dict[str, Any] = {**SETTINGS, "optimiser": "sgd", "learning_rate": 80.0}
    assert worst.recover(1, **hopeless) is worst
    store = FrontierStore(url)
    (failed,) = store.recovered("mine")
    assert (failed.state, failed.parent) == ("failed", worst.id)
    assert failed.reason is not None
    assert "nothing was gained in 1 epoch of recovery" in failed.reason
    assert failed.value(MINUTES) is not None
    assert open_shelf(store).find(failed.id or 0, PACKED) is None
    assert worst.recover(1, **hopeless) is worst
    assert len(store.recovered("mine")) == 1
    assert {each.id for each in result.frontier()} == {each.id for each in result.frontier(stage="before")}
    assert check(url).ok


def test_what_cannot_be_recovered(worst: leanfront.Candidate, tiny: Target) -> None:
    for wanted, words in (
        ({"epochs": 0}, "epochs must be a whole number from 1"),
        ({"optimiser": "lion"}, "unknown optimiser 'lion'; known: adamw, sgd"),
        ({"colour": 3}, "colour"),
        ({"device": "abacus"}, "unknown device"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(UsageError, match=words):
            worst.recover(**{**SETTINGS, "epochs": 1, **wanted})
    with pytest.raises(TargetError, match="does not know its target"):
        replace(worst, recoverer=None).recover()
    other = leanfront.search(tiny, name="bare", trials=1, sampler="random")
    with pytest.raises(UsageError, match=r"search 'bare' has no train split"):
        other.frontier()[0].recover(1)
    failed = replace(worst, state="failed", reason="it broke")
    with pytest.raises(UsageError, match="failed, there is nothing to recover: it broke"):
        failed.recover(1)


def test_a_training_that_fails_is_told_and_the_others_go_on(url: str, target: Target) -> None:
    """The target's augmentation spoils one batch; what was recovered before and after stays."""
    batches = 0

    def spoils(images: torch.Tensor) -> torch.Tensor:
        nonlocal batches
        batches += len(images) > 2
        return images * float("nan") if batches == 11 else images

    changed = Target(
        model=target.model,
        example_input=target.example_input,
        calibration=target.calibration,
        validation=target.validation,
        test=target.test,
        train=target.train,
        augment=spoils,
        classes=target.classes,
        name=target.name,
    )
    result = leanfront.open_search("mine", database=url, target=changed)
    made = result.recover(epochs=1, **SETTINGS)
    batches = 10
    with pytest.raises(CompressionError, match="the loss is nan in epoch 1, step 1"):
        result.frontier(stage="before")[0].recover(1, seed=5, **SETTINGS)
    store = FrontierStore(url)
    tried = store.recovered("mine")
    assert len(tried) >= 2
    assert {each.id for each in made} <= {each.id for each in tried}
    # The second of them failed; whoever asks again tries it again.
    result.recover(epochs=1, **SETTINGS)
    assert len(store.recovered("mine")) > len(tried)


def test_a_candidate_is_stored_with_its_file_or_not_at_all(
    url: str, worst: leanfront.Candidate, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database fails at the last moment, the folder before: nothing is left but the checkpoint."""
    store, files, recoverer = parts(url, target)
    shelf = open_shelf(store)
    before = set(shelf.folder)

    def fails(*arguments: Any) -> None:
        raise StorageError("no more")

    with monkeypatch.context() as patch:
        patch.setattr("leanfront.core.storage.shelf.Shelf.link", fails)
        with pytest.raises(StorageError, match="no more"):
            recoverer.recover(worst, QUICK)
    assert store.recovered("mine") == []
    assert set(shelf.folder) == before
    assert len(checkpoints(url)) == 1
    with monkeypatch.context() as patch:
        patch.setattr("leanfront.core.storage.artifacts.ArtifactStore.put", fails)
        with pytest.raises(StorageError, match="no more"):
            recoverer.recover(worst, QUICK)
    assert store.recovered("mine") == []
    # Nothing need be trained again: the checkpoint says all.
    steps: list[int] = []
    attempt = recoverer.recover(worst, QUICK, report=lambda progress: steps.append(progress.training.step))
    assert steps == []
    assert attempt.gained is not None
    assert checkpoints(url) == []
    # Another process that has trained the same comes second: one candidate, one file.
    content = files.packed(attempt.gained)
    assert content is not None
    twin = replace(attempt.gained, id=None)
    assert files.add(twin, content).id == attempt.gained.id
    assert files.add(twin, content + b"\0").id == attempt.gained.id
    assert set(shelf.folder) == before | {shelf.find(attempt.gained.id or 0, PACKED).digest}  # type: ignore[union-attr]
    assert check(url, shelf.folder).ok


def test_a_recovered_candidate_whose_file_is_gone(
    url: str, worst: leanfront.Candidate, result: leanfront.SearchResult
) -> None:
    made = worst.recover(2, **SETTINGS)
    shelf = open_shelf(FrontierStore(url))
    kept = shelf.find(made.id or 0, PACKED)
    assert kept is not None
    place = shelf.folder.path(kept.digest)
    place.write_bytes(place.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ArtifactError, match="is damaged"):
        made.module()
    with pytest.raises(ArtifactError, match="gone or damaged, and its weights were learnt"):
        made.recover(1, **SETTINGS)
    place.unlink()
    with pytest.raises(CompressionError, match="cannot be made again"):
        made.module()
    with pytest.raises(CompressionError, match="cannot be made again"):
        made.export("gone.onnx")
    assert not made.verify().ok


def test_a_stopped_training_goes_on(
    url: str, worst: leanfront.Candidate, target: Target, tmp_path: Path
) -> None:
    """As if it had never been stopped: the same bytes."""
    other = shutil.copytree(tmp_path / "own", tmp_path / "other")
    seen: list[int] = []

    def report(progress: RecoveryProgress) -> None:
        seen.append(progress.training.step)

    for count, at in enumerate((3, 13)):
        store, files, recoverer = parts(f"sqlite:///{other}/own.db", target)
        parent, settings = store.candidate(worst.id or 0), replace(QUICK, seed=at)

        def stop(at: int = at) -> bool:
            return len(seen) == at

        stopped = recoverer.recover(parent, settings, report=report, stop=stop)
        assert (stopped.candidate, stopped.ended) == (None, "stopped")
        assert len(store.recovered("mine")) == count
        seen.clear()
        rest = recoverer.recover(parent, settings, report=report)
        assert seen == list(range(at + 1, 21))
        seen.clear()
        undisturbed = worst.recover(2, seed=at, **SETTINGS)
        assert rest.gained is not None
        _, mine, _ = parts(url, target)
        assert files.packed(rest.gained) == mine.packed(undisturbed)
        store.close()


def test_promotion_learns_and_says_what_it_expected(result: leanfront.SearchResult, url: str) -> None:
    pool = result.frontier(stage="before")
    volume = result.record.hypervolume_log2
    made = result.recover(epochs=2, **SETTINGS)
    store = FrontierStore(url)
    tried = store.recovered("mine")
    assert {each.parent for each in tried} <= {each.id for each in pool}
    assert [each.id for each in made] == [each.id for each in tried if each.state == "complete"]
    assert 1 < len(tried) <= 8
    assert [p.count for each in tried if (p := each.measurement(PREDICTED))] == list(range(len(tried)))
    assert result.record.hypervolume_log2 > volume
    # The best bargain first: what a prior without any outcome would say of the first.
    assert tried[0].value("accuracy_before") != max(each.accuracy or 0 for each in pool)
    assert check(url).ok
    again = result.recover(epochs=2, **SETTINGS)
    assert {each.id for each in again}.isdisjoint({each.id for each in made})


def test_the_command(url: str, worst: leanfront.Candidate, tmp_path: Path) -> None:
    other = next(each for each in FrontierStore(url).frontier("mine") if each.id != worst.id)
    common = ("--database", url, "--device", "cpu", "--epochs", "2", "--learning-rate", "0.005")
    shown = run("recover", str(worst.id), *common)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.split("\n")[0].split()[:5] == ["of", "id", "before", "after", "test"]
    assert f"\n{worst.id} " in shown.stdout
    found = answer("recover", str(worst.id), str(other.id), *common)
    assert found["search"] == "mine"
    own = {row["parent"]: row for row in found["recoveries"]}
    assert set(own) == {worst.id, other.id}
    first = own[worst.id]
    assert first["found"]
    assert first["candidate"]["parent"] == worst.id
    assert first["accuracy_before"] == worst.accuracy
    assert first["accuracy_after"] == first["candidate"]["accuracy"]
    assert first["gain"] == pytest.approx(first["accuracy_after"] - first["accuracy_before"])
    assert first["predicted"]["low"] < first["predicted"]["gain"] < first["predicted"]["high"]
    assert first["predicted"]["points"] == 0
    assert own[other.id]["found"] is False
    assert own[other.id]["predicted"]["points"] == 1
    assert len(own[other.id]["epochs"]) == 2
    assert found["prediction"]["points"] == 2
    assert found["prediction"]["error"] > 0
    text = run("recover", str(worst.id), str(other.id), *common).stdout
    assert "Gains are predicted within" in text
    chosen = run(
        "select", "mine", "--no-verify", "--max-memory", str(int(worst.memory_bytes or 0)), "--database", url
    )
    assert f"recovered from candidate {worst.id}: accuracy {worst.accuracy:.4f} -> " in chosen.stdout
    promoted = answer("recover", "mine", *common, "--minutes", "1")
    assert worst.id not in {row["parent"] for row in promoted["recoveries"]}
    assert promoted["prediction"]["points"] > 2
    assert not promoted["recoveries"] or {row["ended"] for row in promoted["recoveries"]} == {"epochs"}
    assert check(url).ok


def test_the_command_refuses(url: str, worst: leanfront.Candidate) -> None:
    for arguments, code, words in (
        (["recover", "99999"], 1, "no candidate 99999"),
        (["recover", "nowhere"], 1, "nowhere"),
        (["recover", "mine", "mine"], 2, "or one search"),
        (["recover", str(worst.id), "mine"], 2, "'mine' is not a number"),
        (["recover"], 2, "Missing argument"),
        (["recover", str(worst.id), "--epochs", "0"], 2, "epochs must be a whole number"),
        (["recover", str(worst.id), "--minutes", "0"], 2, "minutes must be a finite number above 0"),
        (["recover", str(worst.id), "--optimiser", "lion"], 2, "known: adamw, sgd"),
        (
            ["search", "digits", "--recover", "0"],
            2,
            "recover must be a whole number from 1 to 100,000, not 0",
        ),
        (["search", "digits", "--recover-minutes", "3"], 2, "say how many"),
        (
            ["search", "digits", "--recover", "1", "--recover-minutes", "-3"],
            2,
            "recover_minutes must be a finite number above 0",
        ),
    ):
        found = run(*arguments, "--database", url)
        assert found.exit_code == code, found.output
        assert words in found.output
        assert "Traceback" not in found.output
    assert worst.target is not None
    leanfront.search(worst.target(), name="second", trials=2, database=url)
    second = FrontierStore(url).frontier("second")[0]
    found = run("recover", str(worst.id), str(second.id), "--database", url)
    assert found.exit_code == 2
    assert "one search at a time" in found.output


@pytest.mark.slow
def test_interrupted_the_same_command_goes_on(
    url: str, worst: leanfront.Candidate, start: Start, tiny_file: Path
) -> None:
    command = ("recover", str(worst.id), "--epochs", "10", "--database", url, "--device", "cpu")
    process = start(*command, "--json")
    wait_for(lambda: bool(checkpoints(url)), process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output == ""
    assert f"the same command goes on: leanfront recover {worst.id} --epochs 10" in errors
    assert "Traceback" not in errors
    assert FrontierStore(url).recovered("mine") == []
    assert len(checkpoints(url)) == 1
    (row,) = answer(*command)["recoveries"]
    assert row["ended"] == "epochs"
    assert len(row["epochs"]) == 10
    assert checkpoints(url) == []
    # The bytes of a training that nobody interrupted.
    store = FrontierStore(url)
    result = leanfront.SearchResult(store, "mine", resolve(f"{tiny_file}:recoverable"))
    recoverer = result.recoverer("cpu")
    kept = ShelvedFiles(store, open_shelf(store)).packed(store.candidate(row["candidate"]["id"]))
    compressed = recoverer._start(store.candidate(worst.id or 0))
    made = recover(recoverer._evaluator.compressor, compressed, Recovery(epochs=10))
    assert kept is not None
    assert kept == write(made.compressed, recoverer._evaluator.compressor.structure, read(kept).target)
