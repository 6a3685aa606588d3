"""Terminal text: tables and sentences."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from leanfront.core.audit.table import table
from leanfront.core.compressors import Configuration
from leanfront.core.cost_models.registry import LATENCY
from leanfront.core.objectives import Measurement, Selection
from leanfront.core.search import Attempt, Candidate, Claim, SearchRecord, Verification
from leanfront.core.search.attempt import BEFORE, MINUTES
from leanfront.core.storage import Report

if TYPE_CHECKING:
    from leanfront.core.compressors import Coverage

VERIFIED = {True: "yes", False: "NO", None: "-"}
"""Text for whether a candidate is verified."""


def size(value: float | None) -> str:
    """Format bytes in powers of 1000: ``64.2 KB``."""
    return "-" if value is None else _scaled(value, ("B", "KB", "MB", "GB", "TB"))


def count(value: float | None) -> str:
    """Format a count with K, M, G: ``20.1 M``."""
    return "-" if value is None else _scaled(value, ("", "K", "M", "G", "T")).rstrip()


def _scaled(value: float, units: Sequence[str]) -> str:
    step = 0
    while abs(value) >= 999.95 and step < len(units) - 1:
        value /= 1000
        step += 1
    return f"{value:.0f} {units[step]}" if step == 0 else f"{value:.1f} {units[step]}"


def number(measurement: Measurement | None) -> str:
    """Format a measurement in its unit."""
    if measurement is None:
        return "-"
    if measurement.unit == "byte":
        return size(measurement.value)
    if measurement.unit in ("MAC", "bit operation"):
        return count(measurement.value)
    if measurement.unit == "ms":
        return f"{measurement.value:.3g} ms"
    return f"{measurement.value:.4f}"


def frontier_text(record: SearchRecord, candidates: Sequence[Candidate], stage: str = "after") -> str:
    """Return the frontier as a table, dense model first, with remarks."""
    dense = {(m.name, m.split): m for m in record.dense}
    rows = [
        [
            *_row(
                "dense", dense.get(("accuracy", "validation")), dense.get(("accuracy", "test")), dense, dense
            ),
            "",
        ]
    ]
    for candidate in candidates:
        own = {(m.name, m.split): m for m in candidate.measurements}
        rows.append(
            [
                *_row(
                    str(candidate.id),
                    own.get(("accuracy", "validation")),
                    own.get(("accuracy", "test")),
                    own,
                    dense,
                    "~" if _within_noise(candidate, candidates) else "",
                ),
                VERIFIED[candidate.verified],
            ]
        )
    header = ["id", "accuracy", "95% interval", "", "test", "memory", "smaller", "file", "MACs", "fewer"]
    header += ["latency", "faster"] if (LATENCY, "") in dense else []
    header.append("verified")
    lines = [
        table(header, rows),
        "",
        f"{record.name}: {record.trials} trials, {record.frontier_size} on the frontier, hypervolume "
        f"{record.hypervolume:.4f} (log2 axes {record.hypervolume_log2:.3f}; reference "
        + ", ".join(f"{name} {_plain(value)}" for name, value in record.reference.items())
        + ")",
    ]
    if stage == "before":
        lines.append(
            "The table shows candidates before recovery; size and hypervolume are those of the frontier after it."
        )
    lines += record.settings.get("remarks", ())
    if record.settings.get("latency") is not None:
        lines.append(latency_text(record.settings["latency"]))
    noisy = sum(_within_noise(candidate, candidates) for candidate in candidates)
    if noisy:
        lines.append(
            f"~ {noisy} of {len(candidates)}: within the noise (95%) of a cheaper point's accuracy; "
            "the difference may not be real."
        )
    curse = optimism(candidates)
    if curse is not None:
        lines.append(
            f"Validation minus test over the frontier: {100 * curse:+.2f} points (the search chose on validation; "
            "trust the test column)."
        )
    lines += _recovered_text(candidates)
    if not candidates:
        lines.append("No candidate is within these limits.")
    return "\n".join(lines)


def latency_text(table: Mapping[str, Any]) -> str:
    """Describe where latency was measured and the error of its predictions, from a search's settings."""
    place, errors = table["place"], table["errors"]
    threads, batch = (
        f"{place[what]} {word}{'' if place[what] == 1 else 's'}"
        for what, word in (("threads", "thread"), ("batch", "input"))
    )
    return (
        f"Latency: {batch} in {place['backend']} {place['release']} on {threads} of {place['processor']}; predicted "
        f"from {table['configurations']} measured configurations; median error {errors['median']:.1%}, largest "
        f"error {errors['worst']:.1%} on held-out configurations."
    )


def optimism(candidates: Sequence[Candidate]) -> float | None:
    """Return the mean of validation minus test accuracy, the winner's curse; None if nothing was tested."""
    gaps = []
    for candidate in candidates:
        validation, test = candidate.value("accuracy", "validation"), candidate.value("accuracy", "test")
        if validation is not None and test is not None:
            gaps.append(validation - test)
    return sum(gaps) / len(gaps) if gaps else None


def _within_noise(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Whether a point that costs no more has an accuracy within the interval of the candidate's."""
    mine = candidate.measurement("accuracy", "validation")
    if mine is None or mine.low is None:
        return False
    for other in others:
        theirs = other.measurement("accuracy", "validation")
        if other is candidate or theirs is None or theirs.value >= mine.value:
            continue
        cheaper = all(
            (a := other.value(name)) is not None and (b := candidate.value(name)) is not None and a <= b
            for name in ("memory_bytes", "macs")
        )
        if cheaper and theirs.value >= mine.low:
            return True
    return False


def _row(
    identifier: str,
    accuracy: Measurement | None,
    test: Measurement | None,
    own: dict[tuple[str, str], Measurement],
    dense: dict[tuple[str, str], Measurement],
    mark: str = "",
) -> list[str]:
    memory, macs, file = (own.get((name, "")) for name in ("memory_bytes", "macs", "file_bytes"))
    fast = dense.get((LATENCY, ""))
    interval = "-"
    if accuracy is not None and accuracy.low is not None and accuracy.high is not None:
        interval = f"{accuracy.low:.4f}..{accuracy.high:.4f}"
    return [
        identifier,
        number(accuracy),
        interval,
        mark,
        number(test),
        number(memory),
        _ratio(dense.get(("memory_bytes", "")), memory),
        number(file),
        number(macs),
        _ratio(dense.get(("macs", "")), macs),
        *([] if fast is None else [number(own.get((LATENCY, ""))), _ratio(fast, own.get((LATENCY, "")))]),
    ]


def _ratio(dense: Measurement | None, own: Measurement | None) -> str:
    return "-" if dense is None or own is None or not own.value else f"{dense.value / own.value:.2f}x"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def candidate_text(record: SearchRecord, candidate: Candidate) -> str:
    """Return one candidate: its measurements beside the dense model's, and its configuration."""
    dense = {(m.name, m.split): m for m in record.dense}
    rows = [
        [
            f"{m.name} ({m.split})" if m.split else m.name,
            number(m),
            f"{m.low:.4f}..{m.high:.4f}" if m.low is not None and m.high is not None else "",
            number(dense.get((m.name, m.split))),
        ]
        for m in sorted(candidate.measurements, key=lambda m: not m.split)
    ]
    return "\n".join(
        [
            f"candidate {candidate.id} of {record.name}"
            + (" (on the frontier)" if candidate.on_frontier else ""),
            *_recovered_lines(candidate),
            "",
            table(["measurement", "value", "95% interval", "dense"], rows),
            "",
            f"verified: {VERIFIED[candidate.verified]}"
            + (f" (leanfront verify {candidate.id})" if candidate.verified is None else ""),
            configuration_text(candidate.configuration),
        ]
    )


def _recovered_text(candidates: Sequence[Candidate], most: int = 6) -> list[str]:
    """List the recovered ones of some candidates with their parents."""
    found = [
        f"{each.id} from {each.parent} ({before:.4f} -> {each.accuracy:.4f})"
        for each in candidates
        if each.parent is not None and (before := each.value(BEFORE)) is not None
    ]
    return [f"Recovered: {_short(found, most)}"] if found else []


def _recovered_lines(candidate: Candidate) -> list[str]:
    before, after = candidate.value(BEFORE), candidate.accuracy
    if candidate.parent is None or before is None or after is None:
        return []
    return [f"recovered from candidate {candidate.parent}: accuracy {before:.4f} -> {after:.4f}"]


def infeasible_text(selection: Selection[Any]) -> str:
    """Return an infeasible answer as a sentence or two."""
    nearest = selection.nearest
    if nearest is None:
        return "no candidate is within the budget: there is no measured candidate yet"
    left = f"; {unmeasured_text(selection)}" if selection.unmeasured else ""
    over = ", ".join(
        f"{name} off by {value:,.6g}" if math.isfinite(value) else f"{name} was not measured"
        for name, value in selection.violations.items()
    )
    text = (
        f"no candidate is within the budget; the nearest is {nearest.id} ({over}); {selection.binding} binds"
    )
    floor = (selection.cheapest or {}).get(selection.binding or "")
    return (text if floor is None else f"{text}; the space reaches no less than {floor:,.6g}") + left


def unmeasured_text(answer: Selection[Any]) -> str:
    """Return an answer's missing measurements as a sentence."""
    metrics = ", ".join(answer.unmeasured_metrics)
    ids = ", ".join(map(str, answer.unmeasured))
    return f"{metrics} is not measured on candidates {ids}, which may be a better answer"


def verification_text(verification: Verification) -> str:
    """Return a candidate's claims, each with the value found."""
    rows = [
        [
            f"{claim.name} ({claim.split})" if claim.split else claim.name,
            _claimed(claim.claimed, claim),
            _claimed(claim.found, claim),
            f"{claim.tolerance:.2g}" if claim.tolerance else "exact",
            "yes" if claim.ok else "NO",
        ]
        for claim in verification.claims
    ]
    lines = [table(["claim", "claimed", "found", "may differ by", "holds"], rows)]
    if verification.unchecked:
        lines += ["", "not checked"]
        lines += [f"  {name}: {why}" for name, why in verification.unchecked.items()]
    lines += [
        "",
        f"candidate {verification.candidate}: all {len(rows)} claims hold"
        if verification.ok
        else f"candidate {verification.candidate}: {len(verification.broken)} of {len(rows)} claims do not hold",
    ]
    return "\n".join(lines)


def verifications_text(verifications: Sequence[Verification]) -> str:
    """Return several verifications, one per line, and how many hold."""
    if not verifications:
        return "There is no candidate to verify."
    rows = [
        [
            str(each.candidate),
            str(len(each.claims)),
            VERIFIED[each.ok],
            ", ".join(
                f"{claim.name} ({claim.split})" if claim.split else claim.name for claim in each.broken
            ),
        ]
        for each in verifications
    ]
    held = sum(each.ok for each in verifications)
    return "\n".join(
        [
            table(["candidate", "claims", "verified", "does not hold"], rows),
            "",
            f"{held} of {len(verifications)} candidates pass verification",
        ]
    )


def _claimed(value: float | str | None, claim: Claim) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        # Digests differ from their first digits.
        return value[:12] if claim.name in ("sha256", "configuration") else value
    return f"{value:,.0f}" if not claim.split else f"{value:.6f}"


def attempt_text(attempt: Attempt) -> str:
    """Return the result of recovering a candidate as a sentence."""
    parent, own = attempt.parent.id, attempt.candidate
    if attempt.error is not None:
        return f"candidate {parent} could not be recovered: {attempt.error}"
    if own is None:
        return f"candidate {parent}: there was no time left for training"
    known = " (found, not trained again)" if attempt.found else ""
    if own.state != "complete":
        return f"candidate {parent}: {own.reason}{known}"
    change = f"accuracy {own.value(BEFORE):.4f} -> {own.accuracy:.4f}"
    return f"candidate {own.id} recovered from {parent}: {change}{known}"


def attempts_text(attempts: Sequence[Attempt], error: float | None, points: int) -> str:
    """Return recoveries as a table, and how well their gains were predicted."""
    rows = []
    for attempt in attempts:
        own, predicted = attempt.candidate, attempt.to_json()["predicted"]
        better = attempt.gained
        rows.append(
            [
                str(attempt.parent.id),
                "-" if better is None else str(better.id),
                _share(attempt.parent.accuracy if own is None else own.value(BEFORE)),
                "-" if better is None else _share(better.accuracy),
                "-" if better is None else _share(better.value("accuracy", "test")),
                _share(attempt.gain, signed=True),
                "-"
                if predicted is None
                else f"{predicted['gain']:+.4f} ({predicted['low']:+.4f}..{predicted['high']:+.4f})",
                "-" if own is None or own.value(MINUTES) is None else f"{own.value(MINUTES):.2f}",
                "found" if attempt.found else attempt.ended,
            ]
        )
    header = ["of", "id", "before", "after", "test", "gain", "predicted", "minutes", "ended"]
    lines = [table(header, rows)] if rows else ["Recovery is not expected to improve any candidate."]
    for attempt in attempts:
        if attempt.gained is None:
            lines.append(attempt_text(attempt))
    if error is not None:
        lines.append(
            f"Gains are predicted within {error:.4f} (root mean square over {points} recoveries, each predicted "
            "from the others)."
        )
    return "\n".join(lines)


def _share(value: float | None, *, signed: bool = False) -> str:
    return "-" if value is None else f"{value:+.4f}" if signed else f"{value:.4f}"


def configuration_text(configuration: Configuration) -> str:
    """Return a configuration in a few lines."""
    if configuration.is_dense:
        return "the dense model"
    lines = []
    if configuration.channels:
        kept = ", ".join(f"{group} {units}" for group, units in configuration.channels.items())
        lines.append(f"kept channels (by {configuration.criterion}): {kept}")
    for label, values in (
        ("weight bits", configuration.weight_bits),
        ("activation bits", configuration.activation_bits),
        ("sparsity", configuration.sparsity),
    ):
        if values:
            lines.append(f"{label}: " + ", ".join(f"{layer} {value}" for layer, value in values.items()))
    return "\n".join(lines)


def next_question(record: SearchRecord, frontier: Sequence[Candidate], database: str | None) -> str | None:
    """Return a command that queries the search and has an answer, or None if the frontier is empty.

    It asks for an eighth of the bytes and half of the MACs, or, if nothing is so small, for what the smallest member
    takes.
    """
    dense = {m.name: m.value for m in record.dense}
    names = [name for name in ("memory_bytes", "macs") if name in dense]
    limits = dict(zip(names, (dense["memory_bytes"] / 8, dense.get("macs", 0.0) / 2), strict=False))
    costs = [{name: float(each.value(name) or 0) for name in names} for each in frontier]
    if not costs:
        return None
    if not any(all(own[name] <= limits[name] for name in names) for own in costs):
        least = min(costs, key=lambda own: own["memory_bytes"])
        limits = {name: max(limits[name], least[name]) for name in names}
    question = (
        f"leanfront select {shlex.quote(record.name)} --max-memory {_at_least(limits['memory_bytes'])}B"
    )
    if "macs" in limits:
        question += f" --max-macs {_at_least(limits['macs'])}"
    return question + (f" --database {shlex.quote(database)}" if database else "")


def _at_least(value: float) -> str:
    """Return a limit with one decimal of its unit, rounded up so that it is not missed."""
    step = 0
    while value >= 999.95 and step < 4:
        value, step = value / 1000, step + 1
    return f"{math.ceil(value)}" if step == 0 else f"{math.ceil(10 * value) / 10:.1f}{'KMGT'[step - 1]}"


def searches_text(records: Sequence[SearchRecord]) -> str:
    """Return all searches, one per line."""
    if not records:
        return "No searches yet. Start one: leanfront search digits"
    rows = [
        [
            r.name,
            r.target if len(r.target) <= 48 else r.target[:45] + "...",
            r.state,
            str(r.trials),
            str(r.frontier_size),
            f"{r.hypervolume_log2:.3f}",
        ]
        for r in records
    ]
    return table(["name", "target", "state", "trials", "frontier", "hypervolume (log2)"], rows)


def check_text(report: Report) -> str:
    """Return the result of a database check: searches, then problems."""
    lines = [f"{report.url}: schema {report.schema or 'none'}, this release's is {report.head}"]
    if report.searches:
        rows = [
            [s.name, str(s.trials), str(s.candidates), str(s.stopped), str(s.failed), str(s.frontier_size)]
            for s in report.searches
        ]
        lines += ["", table(["search", "trials", "candidates", "stopped", "failed", "frontier"], rows), ""]
    if report.files is None:
        lines.append("files were not checked: there is no artifact folder here (LEANFRONT_ARTIFACTS)")
    else:
        lines.append(f"{report.files} files in the artifact folder")
    if report.strays:
        lines.append(f"{report.strays} files or rows of files that nothing needs: --clean removes them")
    found = "nothing is wrong" if report.ok else f"{len(report.problems)} problem(s):"
    return "\n".join([*lines, found, *(f"  {problem}" for problem in report.problems)])


def coverage_text(coverage: Coverage, cheapest: dict[str, float], remarks: Sequence[str]) -> str:
    """Return the coverage report, with remarks about the target."""
    lines = [
        f"{coverage.parameters:,} parameters, {size(coverage.memory_bytes)}, {count(coverage.macs)} MACs",
        f"bits can be chosen for   {coverage.quantisable_bytes:7.1%} of the bytes, "
        f"{coverage.quantisable_macs:7.1%} of the MACs",
        f"channels can be cut from {coverage.prunable_bytes:7.1%} of the bytes, "
        f"{coverage.prunable_macs:7.1%} of the MACs",
        f"cheapest configuration: {size(cheapest['memory_bytes'])}, {count(cheapest.get('macs'))} MACs",
        *remarks,
        "",
        f"{len(coverage.groups)} channel groups, each proven: cutting equals silencing",
    ]
    if coverage.groups:
        rows = [
            [g["name"], str(g["units"]), str(g["channels"]), _short(g["members"])] for g in coverage.groups
        ]
        lines += [table(["group", "units", "channels", "cuts"], rows)]
    lines += ["", f"{len(coverage.layers)} layers whose bits and sparsity can be chosen"]
    if coverage.layers:
        rows = [
            [row["name"], row["kind"], count(row["weights"]), count(row["macs"]), str(len(row["groups"]))]
            for row in coverage.layers
        ]
        lines += [table(["layer", "kind", "weights", "MACs", "groups"], rows)]
    if coverage.exclusions:
        lines += ["", "left alone"]
        lines += [
            f"  {row['name'] or 'model'} ({row['what']}): {row['reason']}" for row in coverage.exclusions
        ]
    if coverage.unsupported:
        lines += ["", "operators whose MACs are not counted"]
        lines += [f"  {name} ({calls} calls)" for name, calls in coverage.unsupported.items()]
    return "\n".join(lines)


def _short(members: Sequence[Any], most: int = 6) -> str:
    shown = ", ".join(str(member) for member in members[:most])
    return shown if len(members) <= most else f"{shown}, and {len(members) - most} more"
