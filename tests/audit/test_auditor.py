"""The auditor: what it refuses, that it stops, and what it tells."""

from __future__ import annotations

from typing import Any

import pytest

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Configured
from leanfront.core.compressors import Configuration, Structure
from leanfront.core.targets import Target
from leanfront.errors import StoppedError, UsageError


def test_what_is_audited_twice_is_refused(tiny: Target, structure: Structure) -> None:
    same = Configured("a", Configuration())
    with pytest.raises(UsageError, match="a version comes twice: a, a"):
        Auditor(tiny, structure, [same, same], AuditOptions(), samples=64)


@pytest.mark.parametrize("kind", ["classes", "calibration", "robustness"])
def test_it_stops_when_it_is_asked_to(
    digits: Target, digits_structure: Structure, answers: Answers, kind: str
) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 3

    options = AuditOptions(
        models=2,
        levels=("quantisation",),
        corruptions=("gaussian_noise", "brightness", "contrast"),
        severities=(1, 5),
        samples=40,
    )
    auditor = Auditor(digits, digits_structure, [], options, samples=64, answers=answers, stop=stop)
    with pytest.raises(StoppedError):
        KINDS[kind].run(auditor)
    kept = list(answers.folder.rglob("*.safetensors"))
    assert len(kept) == 3


def test_progress_is_told(tiny: Target, structure: Structure, answers: Answers) -> None:
    told: list[tuple[Any, ...]] = []
    auditor = Auditor(
        tiny,
        structure,
        [],
        AuditOptions(models=2, levels=("quantisation",)),
        samples=64,
        answers=answers,
        report=lambda *said: told.append(said),
    )
    KINDS["exemplars"].run(auditor)
    assert told == [("population", done, 8) for done in range(9)]
