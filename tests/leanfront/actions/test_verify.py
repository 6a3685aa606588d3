"""Verification: every true claim holds, every false one is named, and no false file leaves the house."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import leanfront
from leanfront.core.compressors.exchange.formats import PACKED
from leanfront.core.compressors.structure.derivation import derive
from leanfront.core.objectives import METRICS
from leanfront.core.search import Claim, Evaluator, Verification, verify
from leanfront.core.storage import FrontierStore
from leanfront.core.targets import Target
from leanfront.errors import ArtifactError, TargetError, UsageError
from leanfront.locations import open_shelf, open_store
from tests.leanfront.commands import run


@pytest.fixture
def own(finished: str, tmp_path: Path) -> str:
    """The search `done` with its files, this test's own: to tamper with."""
    before = Path(finished.removeprefix("sqlite:///")).parent
    folder = shutil.copytree(before, tmp_path / "own")
    # Others may have selected from it, which verifies.
    with closing(sqlite3.connect(folder / "leanfront.db")) as connection, connection:
        connection.execute("DELETE FROM leanfront_verifications")
    return f"sqlite:///{folder}/leanfront.db"


@pytest.fixture(scope="module")
def evaluator(tiny: Target) -> Evaluator:
    return Evaluator(tiny, derive(tiny.model, tiny.example_input))


def change(url: str, sql: str) -> None:
    """Change a database behind the store's back."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


def broken(verification: Verification) -> set[str]:
    return {f"{claim.name} {claim.split}".strip() for claim in verification.broken}


def test_every_candidate_holds_what_is_claimed(own: str, tiny: Target) -> None:
    result = leanfront.open_search("done", database=own, target=tiny)
    frontier = result.verify()
    assert [each.candidate for each in frontier] == [each.id for each in result.frontier()]
    assert all(each.ok for each in frontier), [each.broken for each in frontier]
    assert all(candidate.verified for candidate in result.frontier())
    for each in frontier:
        # From the file that the search kept, bit for bit what it measured.
        assert {claim.name for claim in each.claims} >= {
            "sha256",
            "configuration",
            "accuracy",
            "macs",
            "bops",
        }
        for claim in each.claims:
            # In a race samples share batches with others: a mean may differ in its last digits.
            mean = claim.name in ("cross_entropy", "ece")
            near = pytest.approx(claim.claimed, rel=1e-6) if mean else claim.claimed
            assert claim.found == near, each
        assert {claim.split for claim in each.claims if claim.name == "accuracy"} == {"validation", "test"}
        assert each.unchecked == {}
    others = result.verify(all=True)
    assert len(others) == len(result.candidates()) > len(frontier)
    assert all(each.ok for each in others), [each.broken for each in others]


def test_searches_with_everything_in_them_verify(tiny: Target, tmp_path: Path) -> None:
    """Sparse layers, activations of few bits."""
    options = {
        "activation_bits": "search",
        "sparsity": "unstructured",
        "objectives": "accuracy,file_size,bops",
        # A sampler that learns may leave out what does not pay.
        "sampler": "random",
    }
    result = leanfront.search(tiny, name="all", trials=24, **options)  # type: ignore[arg-type]
    found = result.verify(all=True)
    assert all(each.ok for each in found), [each.broken for each in found]
    own = {each.id: each.configuration for each in result.candidates()}
    assert any(own[each.candidate].sparsity for each in found)
    assert any(own[each.candidate].activation_bits for each in found)
    assert {claim.name for claim in found[0].claims} >= {"sha256", "sparse_macs", "activation_memory_bytes"}


@pytest.mark.parametrize(
    ("name", "split", "by"),
    [
        ("memory_bytes", "", 1),
        ("file_bytes", "", -8),
        ("macs", "", 1),
        ("bops", "", 1),
        ("accuracy", "validation", 0.02),
        ("accuracy", "test", -0.02),
        ("cross_entropy", "test", 0.05),
    ],
)
def test_a_false_claim_is_named(own: str, tiny: Target, name: str, split: str, by: float) -> None:
    result = leanfront.open_search("done", database=own, target=tiny)
    best = result.frontier()[0]
    change(
        own,
        f"UPDATE leanfront_measurements SET value = value + {by} "
        f"WHERE candidate_id = {best.id} AND name = '{name}' AND split = '{split}'",
    )
    assert best.id is not None
    found = result.candidate(best.id).verify()
    assert broken(found) == {f"{name} {split}".strip()}
    (claim,) = found.broken
    assert isinstance(claim.claimed, float)
    assert claim.found == pytest.approx(claim.claimed - by)
    assert result.candidate(best.id).verified is False


def test_a_cost_of_a_run_that_differs_is_told_and_blocks_nothing(
    own: str, tiny: Target, tmp_path: Path
) -> None:
    result = leanfront.open_search("done", database=own, target=tiny)
    best = result.frontier()[0]
    change(
        own,
        f"UPDATE leanfront_measurements SET value = value + 4 "
        f"WHERE candidate_id = {best.id} AND name = 'activation_memory_bytes'",
    )
    assert best.id is not None
    candidate = result.candidate(best.id)
    found = candidate.verify()
    assert found.ok
    assert "a run of the file takes" in found.unchecked["activation_memory_bytes"]
    assert candidate.export(tmp_path / "best.safetensors").is_file()


def test_one_sample_may_change_sides_and_no_more() -> None:
    for flips, ok in ((1, True), (2, False)):
        claim = Claim("accuracy", 0.9, 0.9 - flips / 200, "validation", 1 / 200 + 1e-12)
        assert claim.ok is ok
    assert not Claim("accuracy", 0.9, None, "validation", 1.0).ok
    assert not Claim("artifact", "a", "b").ok


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "a byte of the data": (lambda content: flip(content, len(content) - 1), None),
    "a byte of the header": (lambda content: flip(content, 30), "artifact"),
    "truncated": (lambda content: content[:-5], "damaged"),
    "empty": (lambda content: b"", "too few"),
    "a pickle": (lambda content: b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00exittR.", "not an artifact"),
    "a long header": (lambda content: struct.pack("<Q", 1 << 60) + content[8:], "truncated"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_file_is_refused(own: str, tiny: Target, evaluator: Evaluator, how: str) -> None:
    spoil, says = SPOILED[how]
    result = leanfront.open_search("done", database=own, target=tiny)
    best = result.select(max_memory="2KB")
    shelf = open_shelf(open_store(own))
    assert best.id is not None
    kept = shelf.find(best.id, PACKED)
    assert kept is not None
    place = shelf.folder.path(kept.digest)
    spoiled = spoil(place.read_bytes())
    place.write_bytes(spoiled)
    found = best.verify()
    assert "sha256" in broken(found)
    assert result.candidate(best.id).verified is False
    if says is None:
        assert "memory_bytes" not in broken(found)
    else:
        assert broken(found) == {"sha256", "artifact"}
        assert says in str(found.broken[1].found)
        # Of bytes that nobody has a digest of, the artifact says it itself.
        assert broken(verify(best, evaluator, spoiled)) == {"artifact"}
    with pytest.raises(ArtifactError, match=r"is not written: claims about candidate .* sha256"):
        best.export("model.safetensors")
    assert not Path("model.safetensors").exists()


def test_files_of_others_are_refused(own: str, tiny: Target, evaluator: Evaluator, tmp_path: Path) -> None:
    first, second, *_ = leanfront.open_search("done", database=own, target=tiny).frontier()
    theirs = second.export(tmp_path / "second.safetensors").read_bytes()
    assert "configuration" in broken(verify(first, evaluator, theirs))
    # Of another network, on the same data.
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    splits = {name: getattr(tiny, name) for name in ("calibration", "validation")}
    other = Target(model=network, example_input=tiny.example_input, **splits)
    foreign = leanfront.search(other, name="other", trials=1).frontier()[0]
    path = foreign.export(tmp_path / "other.safetensors")
    (claim,) = verify(first, evaluator, path.read_bytes()).broken
    assert claim.name == "artifact"
    assert "another architecture" in str(claim.found)
    with pytest.raises(ArtifactError, match="another architecture"):
        leanfront.load(path, tiny.model, example_input=tiny.example_input)


def test_nothing_comes_from_the_dense_weights(own: str, tiny: Target, tmp_path: Path) -> None:
    """A target of the same network with other weights finds the same."""
    best = leanfront.open_search("done", database=own, target=tiny).frontier()[-1]
    content = best.export(tmp_path / "model.safetensors").read_bytes()
    blank = type(tiny.model).__new__(type(tiny.model))
    blank.__init__()  # type: ignore[misc]
    splits = {name: getattr(tiny, name) for name in ("calibration", "validation", "test")}
    other = Target(model=blank, example_input=tiny.example_input, classes=tiny.classes, **splits)
    assert other.fingerprint != tiny.fingerprint
    found = verify(best, Evaluator(other, derive(other.model, other.example_input)), content)
    # But what compares the two.
    compared = {name for name, metric in METRICS.items() if metric.needs}
    assert all(claim.ok for claim in found.claims if claim.name not in compared), found.broken
    assert {"worst_class_drop validation", "pie_rate test"} <= broken(found)


def test_a_stopped_candidate_claims_nothing_of_a_whole_split(own: str, tiny: Target) -> None:
    store = open_store(own)
    change(
        own,
        "UPDATE leanfront_measurements SET count = 120, value = 0.1 WHERE candidate_id = 1 AND split = 'validation'",
    )
    change(own, "UPDATE leanfront_candidates SET state = 'stopped' WHERE id = 1")
    result = leanfront.open_search("done", database=own, target=tiny)
    found = result.candidate(1).verify()
    assert found.ok
    assert found.unchecked["accuracy (validation)"] == "120 of 200 samples were seen"
    assert "macs" in {claim.name for claim in found.claims}
    change(own, "UPDATE leanfront_candidates SET state = 'failed', reason = 'no memory' WHERE id = 1")
    with pytest.raises(UsageError, match="candidate 1 has nothing to verify: no memory"):
        result.candidate(1).verify()
    store.close()


def test_what_a_file_cannot_tell_is_said(own: str, tiny: Target, evaluator: Evaluator) -> None:
    best = leanfront.open_search("done", database=own, target=tiny).frontier()[0]
    more = leanfront.Measurement("latency_ms", 3.0, unit="ms")
    taught = replace(best, measurements=(*best.measurements, more))
    content = best.export("a.safetensors").read_bytes()
    assert dict(verify(taught, evaluator, content).unchecked) == {
        "latency_ms": "an artifact does not tell it"
    }


def test_the_module_is_the_files(own: str, tiny: Target, tmp_path: Path) -> None:
    best = leanfront.open_search("done", database=own, target=tiny).frontier()[-1]
    inputs, _ = tiny.validation.tensors()
    module = leanfront.load(
        best.export(tmp_path / "a.safetensors"), tiny.model, example_input=tiny.example_input
    )
    assert torch.equal(best.module()(inputs), module(inputs))
    shelf = open_shelf(open_store(own))
    kept = shelf.find(best.id or 0, PACKED)
    assert kept is not None
    shelf.folder.path(kept.digest).write_bytes(b"something else")
    with pytest.raises(ArtifactError, match="is damaged"):
        best.module()
    shelf.folder.remove(kept.digest)
    assert torch.allclose(best.module()(inputs), module(inputs), atol=1e-4)


def test_a_candidate_that_knows_no_target(own: str) -> None:
    with pytest.raises(TargetError, match="target="):
        leanfront.Candidate("done", 0, leanfront.Configuration(), id=1).verify()


def test_a_lost_file_is_made_again(own: str, tiny: Target, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(tmp_path / "elsewhere"))
    result = leanfront.open_search("done", database=own, target=tiny)
    best = result.frontier()[0]
    assert best.verify().ok
    shelf = open_shelf(open_store(own))
    assert best.id is not None
    kept = shelf.find(best.id, PACKED)
    assert kept is not None
    assert len(shelf.folder.get(kept.digest)) == best.file_bytes


@pytest.mark.parametrize("by", [0.02, 0.9])
def test_metrics_of_a_file_made_anew_may_differ_by_their_interval(
    own: str, tiny: Target, tmp_path: Path, monkeypatch: Any, by: float
) -> None:
    monkeypatch.setenv("LEANFRONT_ARTIFACTS", str(tmp_path / "elsewhere"))
    result = leanfront.open_search("done", database=own, target=tiny)
    best = result.frontier()[0]
    where = f"WHERE candidate_id = {best.id} AND name = 'accuracy' AND split = 'validation'"
    change(
        own,
        f"UPDATE leanfront_measurements SET value = value - {by}, low = low - {by}, high = high - {by} {where}",
    )
    assert best.id is not None
    # The second time there is a file: it is still one that was made anew.
    for _ in range(2):
        found = result.candidate(best.id).verify()
        assert broken(found) == (set() if by < 0.1 else {"accuracy validation"})
        assert "made anew" in found.unchecked["rounding"]
    path = tmp_path / "a.onnx"
    if by < 0.1:
        assert result.candidate(best.id).export(path).is_file()
    else:
        with pytest.raises(ArtifactError, match="accuracy"):
            result.candidate(best.id).export(path)


def test_the_command(own: str, tiny_file: Path) -> None:
    everything = run("verify", "done", "--database", own)
    assert everything.exit_code == 0, everything.output
    assert "candidates pass verification" in everything.stdout
    best = json.loads(run("frontier", "done", "--json", "--database", own).stdout)["candidates"][0]
    assert best["verified"] is True
    one = run("verify", str(best["id"]), "--database", own)
    assert one.exit_code == 0
    assert "all 20 claims hold" in one.stdout
    change(
        own,
        f"UPDATE leanfront_measurements SET value = 7 WHERE name = 'macs' AND candidate_id = {best['id']}",
    )
    told = run("verify", str(best["id"]), "--json", "--database", own, "--device", "cpu")
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["ok"] is False
    (verification,) = found["verifications"]
    assert [claim["name"] for claim in verification["claims"] if not claim["ok"]] == ["macs"]
    assert verification["release"] == leanfront.__version__
    assert Verification.from_json(verification).to_json() == verification
    shown = run("verify", str(best["id"]), "--database", own)
    assert "1 of 20 claims do not hold" in shown.stdout
    refused = run("export", str(best["id"]), "-o", "a.safetensors", "--database", own)
    assert refused.exit_code == 1
    assert "macs is claimed to be 7" in refused.stderr
    assert not Path("a.safetensors").exists()
    assert " NO" in run("frontier", "done", "--database", own).stdout
    assert run("verify", "3", "--all", "--database", own).exit_code == 2
    assert run("verify", "9999", "--database", own).exit_code == 1
    moved = run("verify", "done", "--target", f"{tiny_file}:breaks", "--database", own)
    assert "not the one" in moved.stderr
    assert (
        "the structure of the model (its modules, or names and shapes of its weights) differs" in moved.stderr
    )


def test_the_check_of_the_database_reads_the_files(own: str) -> None:
    sound = json.loads(run("database", "check", "--json", "--database", own).stdout)
    assert sound["ok"]
    assert sound["files"] > 3
    shelf = open_shelf(open_store(own))
    stray = shelf.folder.put(b"nobody's")
    os.utime(shelf.folder.path(stray), (0, 0))
    assert "1 files or rows of files that nothing needs" in run("database", "check", "--database", own).stdout
    cleaned = run("database", "check", "--clean", "--database", own)
    assert cleaned.exit_code == 0
    assert "removed 1 that nothing needs" in cleaned.stderr
    assert stray not in shelf.folder
    kept = shelf.find(leanfront.open_search("done", database=own).frontier()[0].id or 0, PACKED)
    assert kept is not None
    shelf.folder.path(kept.digest).write_bytes(b"x")
    broken = run("database", "check", "--database", own)
    assert broken.exit_code == 1
    assert f"the artifact {kept.digest} is damaged" in broken.stdout


def test_select_verifies_what_it_selects_once(own: str) -> None:
    asked = ("select", "done", "--max-memory", "2KB", "--database", own)
    before = json.loads(run(*asked, "--no-verify", "--json").stdout)["candidate"]
    assert before["verified"] is None
    answer = run(*asked, "--json")
    after = json.loads(answer.stdout)["candidate"]
    assert after == {**before, "verified": True}
    assert answer.stderr == ""
    with FrontierStore(own) as store:
        stored = store.verification(after["id"])
    assert "verified: yes" in run(*asked).stdout
    with FrontierStore(own) as store:
        assert store.verification(after["id"]) == stored


def test_select_says_why_it_did_not_verify(own: str, tmp_path: Path) -> None:
    change(own, "UPDATE leanfront_searches SET target = '/nowhere.py:target'")
    answer = run("select", "done", "--json", "--database", own)
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["candidate"]["verified"] is None
    assert "is not verified" in answer.stderr
    assert "nowhere.py" in answer.stderr


def test_select_warns_of_what_does_not_hold(own: str) -> None:
    change(own, "UPDATE leanfront_measurements SET value = 0.2 WHERE name = 'accuracy' AND split = 'test'")
    answer = run("select", "done", "--json", "--database", own)
    assert answer.exit_code == 0
    assert json.loads(answer.stdout)["candidate"]["verified"] is False
    assert "accuracy (test) is claimed to be 0.2" in answer.stderr
    # It stays so, and is said again.
    again = run("select", "done", "--json", "--database", own)
    assert again.stdout == answer.stdout
    assert "do not hold" in again.stderr


def test_blanked_networks_of_many_kinds_are_restored() -> None:
    """Where all that the file does not hold is NaN, nothing may look at the numbers before they are filled in."""
    from leanfront.core.compressors import Compressor, Configuration
    from leanfront.core.compressors.artifact.packed_file import write
    from leanfront.core.search.claim_checks import _restored
    from leanfront.core.targets.architectures import architecture

    inputs, labels = torch.randn(24, 3, 32, 32), torch.arange(24) % 2
    for name in ("torchvision:mobilenet_v3_small?classes=2", "cifar10-resnet20"):
        found = architecture(name)
        assert found is not None
        parts = {
            key: (inputs[at : at + 8], labels[at : at + 8])
            for at, key in ((0, "validation"), (8, "calibration"))
        }
        target = Target(model=found[0], example_input=inputs[:1], **parts)
        compressor = Compressor(target, samples=8)
        groups = compressor.structure.groups
        configuration = Configuration(
            channels={key: group.units - 1 for key, group in groups.items()}, criterion="l1"
        )
        compressed = compressor.materialise(configuration)
        content = write(compressed, compressor.structure, "x")
        restored = _restored(content, Evaluator(target, compressor.structure))
        assert torch.allclose(restored.module(inputs), compressed.module(inputs), atol=1e-4), name
