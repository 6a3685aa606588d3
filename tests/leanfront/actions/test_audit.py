"""Audits of a stored search: by Python and by the command."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

import leanfront
from leanfront.actions.audit_request import require_auditable, require_no_paths, spread
from leanfront.core.audit import KINDS, AuditOptions, Auditor
from leanfront.core.objectives import Measurement
from leanfront.core.search import Candidate
from leanfront.core.storage import FrontierStore, check
from leanfront.core.targets import Target, resolve
from leanfront.errors import TargetError, UsageError
from tests.leanfront.commands import run

SMALL = ("--models", "2", "--samples", "8", "--corruptions", "contrast,gaussian_noise", "--gallery", "2")
OPTIONS = {"models": 2, "samples": 8, "corruptions": ["contrast", "gaussian_noise"], "gallery": 2}


@pytest.fixture(scope="module")
def pictured(tiny_file: Path) -> Target:
    return resolve(f"{tiny_file}:pictured")


@pytest.fixture(scope="module")
def searched(pictured: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("searched")
    url = f"sqlite:///{folder}/leanfront.db"
    leanfront.search(pictured, name="mine", trials=8, sampler="random", database=url)
    return folder


@pytest.fixture
def own(searched: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copytree(searched, tmp_path / 'own')}/leanfront.db"


def test_what_is_found_is_stored(own: str, pictured: Target) -> None:
    result = leanfront.open_search("mine", database=own, target=pictured)
    first, second = (each.id for each in result.frontier()[:2])
    assert first is not None
    assert second is not None
    kinds = ("classes", "exemplars", "calibration", "robustness")
    found = result.audit(first, second, kinds=kinds, levels=["quantisation"], severities=[3], **OPTIONS)
    assert [(each.kind, each.candidate) for each in found] == [
        (kind, candidate) for kind in kinds for candidate in (first, second, None)
    ]
    assert [each.kind for each in result.audits()] == sorted(kinds)
    assert [each.kind for each in result.audits(first)] == sorted(kinds)
    for each in result.audits(first):
        assert each.release == leanfront.__version__
        assert each.document["version"] == f"candidate {first}"
        assert AuditOptions.read(each.parameters).models == 2
        assert each.document in [record.document for record in found]
    # And the metrics that belong to it are measured, beside what it had.
    for candidate in (result.candidate(first), result.candidate(second)):
        for kind in kinds:
            for name in KINDS[kind].metrics:
                assert candidate.measurement(name, "validation") is not None, name
    assert check(own).ok
    # Once more of one kind with other options: in the other's place.
    (mine, _) = result.audit(first, kinds="classes", **{**OPTIONS, "models": 3})
    stored = [each for each in result.audits(first) if each.kind == "classes"]
    assert [each.document for each in stored] == [mine.document]
    assert len(result.audits(first)) == 4


def test_its_own_accuracy_is_the_candidates(own: str, pictured: Target) -> None:
    """The kept file is audited: exactly what was measured."""
    result = leanfront.open_search("mine", database=own, target=pictured)
    (candidate, *_) = result.frontier()
    result.audit(candidate.id or 0, kinds="robustness", severities=[3], **{**OPTIONS, "samples": 500})
    (record,) = result.audits(candidate.id)
    accuracy = candidate.measurement("accuracy", "test")
    assert accuracy is not None
    assert record.document["c_like"]["clean_accuracy"] == pytest.approx(accuracy.value)


def test_without_candidates_some_of_the_frontier(own: str, pictured: Target) -> None:
    result = leanfront.open_search("mine", database=own, target=pictured)
    (whole,) = [each for each in result.audit(kinds="calibration") if each.candidate is None]
    ids = [each["candidate"] for each in whole.document["versions"]]
    assert ids == [each.id for each in spread(result.frontier())]
    # Levels alone are audited of no candidate.
    (only,) = result.audit(kinds="calibration", levels=["pruning"])
    assert [each["candidate"] for each in only.document["versions"]] == [None] * 5


def point(identifier: int, accuracy: float, **more: object) -> Candidate:
    measured = (Measurement("accuracy", accuracy, "validation"),)
    fields = {
        "configuration": leanfront.Configuration(),
        "measurements": measured,
        "state": "complete",
        **more,
    }
    return Candidate("mine", identifier, id=identifier, **fields)  # type: ignore[arg-type]


def test_spread_is_even_with_both_ends() -> None:
    front = [point(place, (7 * place % 40) / 40) for place in range(40)]
    chosen = [each.accuracy or 0 for each in spread(front)]
    assert len(chosen) == 8
    assert (chosen[0], chosen[-1]) == (39 / 40, 0)
    assert chosen == sorted(chosen, reverse=True)
    steps = [a - b for a, b in pairwise(chosen)]
    assert max(steps) <= 6.01 / 40
    assert min(steps) >= 4.99 / 40
    few = front[:3]
    assert {each.id for each in spread(few)} == {each.id for each in few}
    assert spread([]) == []


def test_what_cannot_be_audited_is_refused(own: str, pictured: Target, tiny_file: Path) -> None:
    with pytest.raises(UsageError, match="candidate 3 is stopped: only complete ones are audited"):
        require_auditable([point(3, 0.5, state="stopped")], "mine")
    with pytest.raises(UsageError, match="candidate 3 is of search 'mine', not of 'other'"):
        require_auditable([point(3, 0.5)], "other")
    result = leanfront.open_search("mine", database=own, target=pictured)
    with pytest.raises(UsageError, match="unknown kind of audit: beauty"):
        result.audit(kinds="beauty")
    with pytest.raises(UsageError, match="unknown option 'colour'; known: population"):
        result.audit(colour=3)
    with pytest.raises(TargetError, match=r"not the one .*: the structure of the model"):
        leanfront.open_search("mine", database=own, target=resolve(f"{tiny_file}:breaks")).audit()
    with pytest.raises(TargetError, match="cannot be trained anew"):
        result.audit(kinds="classes", population="trained", models=2)
    assert result.audits() == []
    for name in ("corrupted", "shift"):
        with pytest.raises(UsageError, match=f"'{name}' names files: only who can type commands"):
            require_no_paths(AuditOptions(**{name: "/etc"}))  # type: ignore[arg-type]
    require_no_paths(AuditOptions())


def test_recovered_candidates_are_audited_by_their_file(tiny_file: Path, tmp_path: Path) -> None:
    target = resolve(f"{tiny_file}:recoverable")
    url = f"sqlite:///{tmp_path}/a.db"
    result = leanfront.search(
        target, name="a", trials=5, sampler="random", method="rounding", recover=2, database=url
    )
    trained = FrontierStore(url).recovered("a")
    (child, *_) = [each for each in trained if each.state == "complete"]
    assert child.id is not None
    (mine, whole) = result.audit(child.id, kinds="exemplars", models=3)
    assert mine.document["version"] == f"candidate {child.id}"
    assert mine.document["members"] == 3
    rate = child.measurement("pie_rate", "test")
    assert rate is not None
    # What one file answers otherwise is near what three recalibrations of it do.
    assert mine.document["rate"] / 100 == pytest.approx(rate.value, abs=0.1)
    assert whole.document["versions"][0]["rate"] == mine.document["rate"]


def test_recovered_candidates_have_the_objectives_of_their_search(tmp_path: Path, tiny_file: Path) -> None:
    """Though they are recovered afterwards, by another evaluator than the search's."""
    target = resolve(f"{tiny_file}:recoverable")
    inputs = {name: getattr(target, name) for name in ("calibration", "validation", "test", "train")}
    pixels = leanfront.Pixels((0.45,), (0.15,))
    own = Target(model=target.model, example_input=target.example_input, pixels=pixels, **inputs)
    url = f"sqlite:///{tmp_path}/a.db"
    objectives = ("accuracy", "flip_rate", "memory")
    result = leanfront.search(
        own,
        name="a",
        trials=4,
        sampler="random",
        method="rounding",
        objectives=objectives,
        metrics=("mce",),
        database=url,
    )
    worst = min(result.frontier(), key=lambda each: each.accuracy or 0)
    worst.recover(epochs=2)
    (child,) = FrontierStore(url).recovered("a")
    assert child.state == "complete", child.reason
    for name in ("flip_rate", "mce"):
        for split in ("validation", "test"):
            assert child.measurement(name, split) is not None


def test_the_command(own: str) -> None:
    told = run("audit", "mine", "--kind", "calibration", "--kind", "classes", *SMALL, "--database", own)
    assert told.exit_code == 0, told.output
    assert "Class impact: 120 test samples, 2 re-calibrations" in told.stdout
    assert "Calibration: 120 test samples" in told.stdout
    shown = run(
        "audit",
        "mine",
        "--levels",
        "quantisation",
        "--kind",
        "exemplars",
        *SMALL,
        "--database",
        own,
        "--json",
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["search"] == "mine"
    (record,) = found["audits"]
    assert (record["kind"], record["candidate"]) == ("exemplars", None)
    assert [each["version"] for each in record["document"]["versions"]] == [
        "float16",
        "dynamic-int8",
        "fixed-int8",
    ]
    assert record["parameters"]["corruptions"] == ["contrast", "gaussian_noise"]
    with FrontierStore(own) as store:
        assert store.audit("mine", "exemplars").to_json() == record


def test_the_table_of_robustness(own: str, tmp_path: Path) -> None:
    told = run("audit", "mine", "--levels", "quantisation", "--kind", "robustness", *SMALL, "--database", own)
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0] == "Robustness: 8 test samples"
    dense = next(line for line in lines if line.startswith("dense"))
    assert "1.000" in dense
    assert "mCE is relative to the dense model" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--shift", "elsewhere"), "--shift takes data=DIR"),
        (("--shift", "data="), "--shift takes data=DIR"),
        (("--workers", "0"), "--workers takes 1 or more"),
        (("--corruptions", "rain"), "unknown corruptions 'rain'; choose from"),
        (("--kind", "beauty"), "beauty"),
        (("--models", "0"), "models must be a whole number from 1 to 1,000, not 0"),
        (("9999",), "9999"),
        (("--kind", "robustness", "--shift", "data=/nowhere", *SMALL), "/nowhere"),
        (("--kind", "robustness", "--corrupted", "/nowhere", *SMALL), "/nowhere"),
    ],
)
def test_what_is_typed_wrong(own: str, arguments: tuple[str, ...], says: str) -> None:
    refused = run("audit", "mine", *arguments, "--database", own)
    assert refused.exit_code in (1, 2)
    assert says in refused.stderr
    with FrontierStore(own) as store:
        assert store.audits("mine") == []


def test_an_audit_of_no_candidates(tiny_file: Path, tmp_path: Path, pictured: Target) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    leanfront.search(pictured, name="a", trials=1, database=url)
    with FrontierStore(url) as store, store.database.writing() as session:
        session.execute(text("DELETE FROM leanfront_candidates"))
    refused = run("audit", "a", "--database", url)
    assert refused.exit_code == 2
    assert "has no candidate yet: audit it when it has one, or give --levels" in refused.stderr


def test_an_interrupted_audit_says_how_to_go_on(own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between two models: what was answered is kept, and nothing is stored."""
    votes = Auditor.logits
    asked: list[int] = []

    def logits(self: Auditor, *arguments: object) -> object:
        asked.append(1)
        if len(asked) > 3:
            raise KeyboardInterrupt
        return votes(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Auditor, "logits", logits)
    told = run("audit", "mine", "--levels", "pruning", "--kind", "calibration", "--database", own)
    assert told.exit_code == 130
    assert "What was computed is kept; the same command goes on: leanfront" in told.stderr
    with FrontierStore(own) as store:
        assert store.audits("mine") == []
    monkeypatch.undo()
    assert (
        run("audit", "mine", "--levels", "pruning", "--kind", "calibration", "--database", own).exit_code == 0
    )


def test_what_cannot_be_audited_is_refused_before_anything_is_computed(
    tiny_file: Path, tmp_path: Path, own: str
) -> None:
    """And where nobody says by what to audit, that is left out and said."""
    url = f"sqlite:///{tmp_path}/plain.db"
    result = leanfront.search(f"{tiny_file}:target", name="plain", trials=3, sampler="random", database=url)
    with pytest.raises(UsageError, match="how its inputs are made of pixels"):
        result.audit(kinds=("calibration", "robustness"), **OPTIONS)
    assert result.audits() == []
    assert [each.kind for each in result.audit(**OPTIONS) if each.candidate is None] == [
        "classes",
        "exemplars",
        "calibration",
    ]
    told = run("audit", "plain", *SMALL, "--database", url)
    assert told.exit_code == 0, told.output
    assert "robustness is left out" in told.stderr
    nowhere = run(
        "audit", "mine", "--kind", "calibration", "--kind", "robustness", "--shift", "data=nowhere", *SMALL,
        "--database", own,
    )  # fmt: skip
    assert nowhere.exit_code == 1
    assert "nowhere" in nowhere.stderr
    assert "Calibration" not in nowhere.stdout
