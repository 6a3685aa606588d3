"""The audit ``robustness``: corruptions, noise, attacks and other data, compared with the dense model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from leanfront.core.audit.auditor import Auditor
from leanfront.core.audit.corruption_errors import Robustness, excess_error, relative_change, robustness
from leanfront.core.audit.kind import Findings, entry
from leanfront.core.audit.kinds.robustness.attacks import ATTACKS, Perturbed, attacked, perturb
from leanfront.core.audit.kinds.robustness.probe import Probe
from leanfront.core.audit.kinds.robustness.stability import stability
from leanfront.core.audit.redundancy import effects, redundancy
from leanfront.core.audit.shifts import data_shift
from leanfront.core.audit.suites import Suite, c_like, published
from leanfront.core.audit.versions import Dense, Version
from leanfront.core.compressors.statistics.outputs import correct
from leanfront.core.objectives.documents import plain
from leanfront.core.search.dense import require_pixels
from leanfront.core.targets import Split
from leanfront.core.targets.sampling import balanced
from leanfront.errors import StoppedError

FEWEST = 3
"""Least number of versions for comparing the effects of corruptions."""


def audit_robustness(auditor: Auditor) -> Findings:
    """Measure accuracy under corruptions, flips under noise, attacks, and accuracy on other data if given.

    Raises:
        UsageError: the target does not say how its inputs are made of pixels.
        TargetError: data cannot be read.
    """
    options = auditor.options
    pixels = require_pixels(auditor.target, "robustness")
    count = min(options.samples, len(auditor.data))
    positions = balanced(auditor.data.labels, count, seed=options.seed, share=1.0)
    chosen = auditor.data.subset(positions)
    suites = [c_like(chosen, pixels, positions, options)]
    if options.corrupted is not None:
        suites.append(published(options.corrupted, auditor.target, pixels, auditor.data, options))
    found: dict[str, dict[str, Any]] = {version.name: {} for version in auditor.every}
    about: dict[str, Any] = {"split": auditor.split, "samples": len(chosen), "seed": options.seed}
    for suite in suites:
        results, about[suite.name] = _suite(auditor, suite)
        for name, result in results.items():
            found[name][suite.name] = result.to_json()
    if options.shift is not None:
        about["shift"] = _shift(auditor, options.shift, found)
    _probed(auditor, chosen, positions, found)
    about["dense"] = found.pop(Dense().name)
    return Findings(about, {each.name: entry(each, found[each.name]) for each in auditor.versions})


def check_robustness(auditor: Auditor) -> None:
    """Check that all images can be made or read, before the audit starts."""
    target, options = auditor.target, auditor.options
    pixels = require_pixels(target, "robustness")
    if options.corrupted is not None:
        published(options.corrupted, target, pixels, auditor.data, options)
    if options.shift is not None:
        data_shift(options.shift, pixels=pixels, example_input=target.example_input, classes=target.classes)


def _suite(auditor: Auditor, suite: Suite) -> tuple[dict[str, Robustness], dict[str, Any]]:
    """Evaluate every version on every image of a suite, making the images of each corruption and severity once."""
    right: dict[str, list[Tensor]] = {version.name: [] for version in auditor.every}
    total = len(suite.corruptions) * len(suite.severities)
    for number, (corruption, severity) in enumerate(suite.ways()):
        auditor.report(f"{suite.name} {corruption}", number, total)
        make = lru_cache(maxsize=1)(lambda c=corruption, s=severity: suite.make(c, s))
        for version in auditor.every:
            logits = auditor.on(version, make, *suite.key, corruption, severity)
            right[version.name].append(correct(logits, suite.labels))
    shape = (len(suite.corruptions), len(suite.severities), -1)
    table = {name: torch.stack(each).reshape(shape) for name, each in right.items()}
    clean = {
        version.name: correct(
            auditor.on(version, lambda: suite.clean, *suite.key, "clean"), suite.clean.labels
        )
        for version in auditor.every
    }
    dense = Dense().name
    results = {
        name: robustness(
            suite.corruptions,
            suite.severities,
            own,
            table[dense],
            clean[name],
            clean[dense],
            seed=auditor.options.seed,
        )
        for name, own in table.items()
    }
    said: dict[str, Any] = {
        "text": suite.text,
        "samples": len(suite.labels),
        "corruptions": list(suite.corruptions),
        "severities": list(suite.severities),
        "redundancy": _redundancy(suite, auditor.versions, table, clean),
    }
    return results, said


def _redundancy(
    suite: Suite, versions: Sequence[Version], right: Mapping[str, Tensor], clean: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return which corruptions have similar effects on the versions."""
    if len(versions) < FEWEST or len(suite.corruptions) < 2:
        return {
            "reason": f"needs {FEWEST} versions and 2 corruptions, there are {len(versions)} and "
            f"{len(suite.corruptions)}"
        }
    accuracy = torch.stack([right[each.name].double().mean(-1) for each in versions])
    top = torch.stack([clean[each.name].double().mean() for each in versions])
    return redundancy(effects(accuracy.numpy(), top.numpy()), suite.corruptions).to_json()


def _shift(auditor: Auditor, source: str, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Measure accuracy on another data set; if it has only some of the classes, answers are among these."""
    target = auditor.target
    pixels = require_pixels(target, "shift")
    shift = data_shift(source, pixels=pixels, example_input=target.example_input, classes=target.classes)
    among = torch.tensor(shift.classes)
    accuracy, clean = {}, {}
    for version in auditor.every:
        logits = auditor.on(version, lambda: shift.split, "shift", shift.split.digest)
        places = (shift.split.labels[:, None] == among).int().argmax(1)
        accuracy[version.name] = float(correct(logits[:, among], places).double().mean())
        clean[version.name] = float(correct(*auditor.logits(version)).double().mean())
    dense = Dense().name
    for name, own in accuracy.items():
        found[name]["shift"] = plain(
            {
                "accuracy": own,
                "clean_accuracy": clean[name],
                "relative_change": relative_change(own, accuracy[dense], clean[name], clean[dense]),
                "excess_error": excess_error(1 - own, 1 - accuracy[dense], 1 - clean[name], 1 - clean[dense]),
            }
        )
    return {
        "name": shift.name,
        "samples": len(shift.split),
        "classes": len(shift.classes),
        "note": shift.note,
    }


def _probed(auditor: Auditor, chosen: Split, positions: Tensor, found: dict[str, dict[str, Any]]) -> None:
    """Measure noise and attacks, which need the modules rather than their answers."""
    inputs, labels = chosen.tensors()
    pixels = require_pixels(auditor.target, "robustness")
    probe = Probe.of(inputs, pixels, seeds=positions.tolist(), device=auditor.device)
    dense = auditor.module(Dense())
    transferred: dict[str, Perturbed] = {
        name: perturb(dense, probe, labels, attack) for name, attack in ATTACKS.items()
    }
    for number, version in enumerate(auditor.every):
        auditor.report("noise and attacks", number, len(auditor.every))
        if auditor.stop():
            raise StoppedError
        module = auditor.module(version)
        own = found[version.name]
        own["stability"] = stability(module, dense, probe).to_json()
        own["attacks"] = [
            attacked(module, probe, labels, how).to_json()
            for name, attack in ATTACKS.items()
            for how in (attack, transferred[name])
        ]
