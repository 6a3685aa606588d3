"""Latency in a search: predicted for every candidate, measured for frontier members."""

from __future__ import annotations

import time
from collections.abc import Callable

from leanfront.core.compressors import Configuration
from leanfront.core.cost_models import COST_MODELS, Costs
from leanfront.core.cost_models.backends import place
from leanfront.core.cost_models.latency import measured
from leanfront.core.cost_models.registry import P50, P95
from leanfront.core.objectives import Measurement
from leanfront.core.search.prepared_target import Prepared
from leanfront.core.search.store_protocol import Store
from leanfront.errors import LeanfrontError

EACH = 0.7
"""Approximate seconds to measure one candidate; a search with a time limit reserves them."""


def cost_measurements(costs: Costs, configuration: Configuration) -> tuple[Measurement, ...]:
    """Return the costs of a canonical configuration; predicted costs have an interval."""
    found = []
    for name, value in costs.of(configuration).items():
        low, high = costs.bounds(name, value)
        found.append(Measurement(name, value, low=low, high=high, unit=COST_MODELS[name].unit))
    return tuple(found)


def measure_frontier(
    store: Store,
    search: str,
    prepared: Prepared,
    *,
    report: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
    deadline: float | None = None,
) -> tuple[bool, str | None]:
    """Measure the latency of frontier members whose latency has not been measured.

    Args:
        store: store of the search.
        search: name of the search.
        prepared: its prepared target, with a latency table.
        report: called after each candidate.
        stop: called before each candidate; measuring stops when it returns true.
        deadline: `time.monotonic` time after which no further candidate is measured.

    Returns:
        Whether it was not stopped, and a message about what was not measured, if anything. On a machine other than
        the
            table's nothing is measured, since the values could not be compared.
    """
    table = prepared.latency
    if table is None:
        return True, None
    waiting = [candidate for candidate in store.frontier(search) if candidate.measurement(P50) is None]
    here = place(table.options)
    if here != table.place:
        if not waiting:
            return True, None
        changed = ", ".join(
            f"{key} {here[key]} is not {table.place[key]}" for key in here if here[key] != table.place[key]
        )
        return True, f"the latency of {len(waiting)} was not measured: {changed}"
    failed: dict[int | None, str] = {}
    for done, candidate in enumerate(waiting):
        if stop():
            return False, None
        if deadline is not None and time.monotonic() >= deadline:
            return True, f"the latency of {len(waiting) - done} was not measured: the time limit was reached"
        assert candidate.id is not None
        try:
            (timing,) = measured(prepared.costs.profile, table.options, [candidate.configuration])
        except LeanfrontError as error:
            failed[candidate.id] = str(error)
            continue
        count = len(timing.seconds)
        found = [
            Measurement(name, 1e3 * seconds, count=count, unit="ms")
            for name, seconds in ((P50, timing.p50), (P95, timing.p95))
        ]
        store.add_measurements(candidate.id, found)
        report()
    if failed:
        return True, f"the latency of {len(failed)} could not be measured: {next(iter(failed.values()))}"
    return True, None
