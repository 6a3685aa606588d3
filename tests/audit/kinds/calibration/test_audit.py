"""The audit `calibration` on the digits."""

from __future__ import annotations

import pytest
import torch

from leanfront.core.audit import KINDS, Answers, AuditOptions, Auditor, Findings
from leanfront.core.compressors import Structure
from leanfront.core.compressors.statistics.outputs import outputs
from leanfront.core.objectives.calibration import calibration
from leanfront.core.targets import Target


def test_calibration_is_of_the_models_own_answers(
    digits_findings: dict[str, Findings], digits: Target
) -> None:
    assert digits.test is not None
    device = torch.device("cpu")
    own, fit = (outputs(digits.model, data, 256, device) for data in (digits.test, digits.validation))
    expected = calibration(*own, fit=fit).to_json()
    document = digits_findings["calibration"].document["dense"]
    assert document["count"] == 397
    for name in ("ece", "nll", "brier", "ece_before", "ece_after", "nll_after"):
        assert document[name] == pytest.approx(expected[name], abs=1e-3), name
    assert document["temperature"]["value"] == pytest.approx(expected["temperature"]["value"], rel=1e-2)
    assert document["temperature"]["count"] == 400
    worse, nearly = (digits_findings["calibration"].versions[name] for name in ("magnitude-0.9", "float16"))
    assert worse["nll"] > 2 * document["nll"]
    assert nearly["nll"] == pytest.approx(document["nll"], abs=1e-3)


def test_where_no_test_split_is_the_temperature_is_fitted_on_a_half(
    tiny: Target, structure: Structure, answers: Answers
) -> None:
    splits = {name: getattr(tiny, name) for name in ("calibration", "validation")}
    bare = Target(model=tiny.model, example_input=tiny.example_input, **splits)
    auditor = Auditor(
        bare, structure, [], AuditOptions(levels=("quantisation",)), samples=64, answers=answers
    )
    assert auditor.split == "validation"
    document = KINDS["calibration"].run(auditor).document
    assert document["split"] == "validation"
    assert document["dense"]["judged"] == 100
    assert document["dense"]["temperature"]["count"] == 100
