"""Metrics of the server and its database in Prometheus's format."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from leanfront.core.storage import FrontierStore
from leanfront.errors import StorageError
from leanfront.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LISTED = 200
"""Number of newest searches with their own time series, each of which takes memory in the monitoring system."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class Metrics:
    """Metrics of one server, separate from other servers in the process.

    Args:
        store: store whose searches and jobs are reported.
    """

    def __init__(self, store: FrontierStore) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._seconds = Histogram(
            "leanfront_http_request_seconds",
            "Time to answer a request, without event streams.",
            labels,
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._streamed = Counter(
            "leanfront_http_streams", "Event streams that have ended.", ("status",), registry=self._registry
        )
        self.running = Gauge(
            "leanfront_http_running", "Requests being answered, streams included.", registry=self._registry
        )
        self.streams = Gauge("leanfront_http_open_streams", "Event streams open.", registry=self._registry)
        self._registry.register(_Stored(store))

    def request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """Count an answered request; an event stream has no time to answer."""
        if seconds is None:
            self._streamed.labels(str(status)).inc()
            return
        known = method if method in METHODS else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """Render all metrics; reads the database."""
        return generate_latest(self._registry)


class _Stored(Collector):
    """Metrics read from the database at every collection, so that all servers that share it agree."""

    def __init__(self, store: FrontierStore) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("leanfront_build", "The running release.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        up = GaugeMetricFamily("leanfront_database_up", "Whether the database answers.")
        try:
            families = self._read()
        except StorageError:
            families = []
        up.add_metric([], float(bool(families)))
        yield up
        yield from families

    def _read(self) -> list[Metric]:
        found: list[Metric] = []
        searches = self._store.marks.newest(LISTED)
        for name, help_, attribute in (
            ("leanfront_search_trials", "Trials stored.", "trials"),
            ("leanfront_search_frontier_size", "Members of the frontier.", "frontier_size"),
            (
                "leanfront_search_hypervolume",
                "Hypervolume of the frontier, costs over the reference.",
                "hypervolume",
            ),
        ):
            family = GaugeMetricFamily(name, help_, labels=["search"])
            for each in searches:
                family.add_metric([each.name], float(getattr(each, attribute)))
            found.append(family)
        jobs = GaugeMetricFamily("leanfront_jobs", "Jobs by kind and state.", labels=["kind", "state"])
        for (kind, state), count in sorted(self._store.jobs.counts().items()):
            jobs.add_metric([kind, state], count)
        runners = GaugeMetricFamily("leanfront_runners", "Workers seen within the time of a lease.")
        runners.add_metric([], len(self._store.jobs.runners()))
        return [*found, jobs, runners]
