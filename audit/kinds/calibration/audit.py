"""The audit ``calibration``: whether confidence matches accuracy, before and after compression."""

from __future__ import annotations

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.versions import Dense, Version
from leanfront.core.objectives.calibration import calibration

FITTED = "validation"
"""The split on which temperatures are fitted, unless it is the audited one."""


def audit_calibration(auditor: Auditor) -> Findings:
    """Compute ECE, negative log-likelihood, Brier score, reliability diagram and a temperature of each version."""

    def judged(version: Version) -> dict[str, object]:
        logits, labels = auditor.logits(version)
        fit = auditor.logits(version, FITTED) if auditor.split != FITTED else None
        return calibration(logits, labels, fit=fit, seed=auditor.options.seed).to_json()

    found = {}
    dense = judged(Dense())
    for number, version in enumerate(auditor.versions):
        auditor.report("calibration", number, len(auditor.versions))
        found[version.name] = entry(version, judged(version))
    return Findings({"split": auditor.split, "samples": len(auditor.data), "dense": dense}, found)
