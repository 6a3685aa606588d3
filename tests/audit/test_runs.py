"""Running audits: what is stored of each kind."""

from __future__ import annotations

import json

import pytest

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Configured, kinds_of, run
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.storage import AuditRecord
from leanfront.core.targets import Target
from leanfront.errors import StoppedError, UsageError

CANDIDATES = [
    Configured("candidate 4", Configuration(channels={"conv1": 2, "conv3": 3}), 4),
    Configured("candidate 9", Configuration(weight_bits={"conv1": 8}), 9),
]


def auditor(target: Target, structure: Structure, answers: Answers, *, stop_after: int = 10_000) -> Auditor:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > stop_after

    options = AuditOptions(models=2, levels=("quantisation",), gallery=3, split="validation")
    return Auditor(target, structure, CANDIDATES, options, samples=64, answers=answers, stop=stop)


def test_a_record_a_candidate_and_one_of_the_whole(
    tiny: Target, structure: Structure, answers: Answers
) -> None:
    own = auditor(tiny, structure, answers)
    kinds = kinds_of(("exemplars", "calibration"))
    found = list(run(own, kinds, "mine", "1.2.3"))
    assert [[record.kind for record in records] for records in found] == [
        ["exemplars"] * 3,
        ["calibration"] * 3,
    ]
    for records in found:
        assert [record.candidate for record in records] == [4, 9, None]
        assert {(record.search, record.release) for record in records} == {("mine", "1.2.3")}
        for record in records:
            assert AuditOptions.read(json.loads(json.dumps(record.parameters))) == own.options
            json.dumps(record.document, allow_nan=False)
            assert record.document["split"] == "validation"
    first, second, whole = found[0]
    assert [each["version"] for each in whole.document["versions"]] == [v.name for v in own.versions]
    assert first.document["version"] == "candidate 4"
    assert first.document["rate"] == whole.document["versions"][0]["rate"]
    # Images are stored once: with the candidate, or with a level, which has no document of its own.
    assert len(first.document["gallery"]) == 3
    assert "gallery" not in whole.document["versions"][0]
    assert "gallery" not in whole.document["versions"][1]
    assert all("gallery" in each for each in whole.document["versions"][2:])
    assert second.document["candidate"] == 9


def test_kinds_that_are_done_are_given_before_it_stops(
    tiny: Target, structure: Structure, answers: Answers
) -> None:
    kinds = kinds_of(("exemplars", "calibration"))
    found: list[list[AuditRecord]] = []
    # Two models of six versions are asked about before each answer.
    for after, kept in ((5, []), (14, ["exemplars"])):
        found.clear()
        own = auditor(tiny, structure, Answers(answers.folder / str(after)), stop_after=after)
        with pytest.raises(StoppedError):
            found.extend(run(own, kinds, "mine", ""))
        assert [records[0].kind for records in found] == kept
    # It goes on there, and finds what it would have found.
    whole = list(run(auditor(tiny, structure, answers), kinds, "mine", ""))
    own = auditor(tiny, structure, Answers(answers.folder / "5"))
    assert list(run(own, kinds, "mine", "")) == whole


def test_without_versions_there_is_nothing_to_compare(tiny: Target, structure: Structure) -> None:
    own = Auditor(tiny, structure, [], AuditOptions(), samples=64)
    with pytest.raises(
        UsageError, match="nothing to audit by classes, exemplars: name candidates, or levels"
    ):
        list(run(own, kinds_of(("classes", "exemplars")), "mine", ""))
    assert not KINDS["classes"].alone
