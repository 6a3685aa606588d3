"""The audit ``classes``: effects of compression on classes, attributes and rare classes."""

from __future__ import annotations

from typing import Any

import torch

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.kinds.classes.class_impact import class_impact
from leanfront.core.audit.kinds.classes.subgroups import long_tail, subgroups
from leanfront.core.audit.population import Votes
from leanfront.errors import UsageError


def audit_classes(auditor: Auditor) -> Findings:
    """Test the recall of every class between the dense and each compressed population by Welch's test.

    Raises:
        UsageError: the population has one model, and so no variance.
    """
    if auditor.options.models < 2:
        raise UsageError("class impact compares populations: give at least 2 models")
    target, labels = auditor.target, auditor.data.labels.numpy()
    votes = auditor.votes
    dense = votes["dense"]
    parts = [each.labels for each in (target.train, target.calibration) if each is not None]
    # Without training samples, the frequencies of the audited split are used.
    trained = torch.cat(parts).numpy() if target.train is not None else labels
    attributes = target.attributes.get(auditor.split, {})
    found = {}
    for version in auditor.versions:
        own = votes[version.name]
        impact = class_impact(dense.predictions, own.predictions, labels, target.classes)
        document: dict[str, Any] = impact.to_json()
        document["long_tail"] = long_tail(impact, trained).to_json()
        document["attributes"] = {
            name: each.to_json()
            for name, each in subgroups(
                _hits(dense, labels),
                _hits(own, labels),
                attributes,
                labels=labels if attributes else None,
                classes=target.classes if attributes else None,
            ).items()
        }
        found[version.name] = entry(version, document)
    about = {
        "split": auditor.split,
        "samples": len(labels),
        "population": auditor.population.to_json(),
        "frequencies": "training" if target.train is not None else auditor.split,
    }
    return Findings(about, found)


def _hits(votes: Votes, labels: Any) -> Any:
    return votes.predictions == labels
