"""Any order of claims, lapses, writes and ends leaves the queue as a model of a few lines says."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from leanfront.core.storage import FrontierStore, Lease
from leanfront.core.storage.jobs import ATTEMPTS, ENDED, SEARCH
from leanfront.errors import BusyError, LeaseLostError

NUMBERS = itertools.count()
PAST, FUTURE = -1.0, 600.0


@dataclass
class Model:
    """A search's job as it should be."""

    name: str
    id: int
    state: str = "queued"
    local: bool = False
    cancelling: bool = False
    valid: Lease | None = None
    lapsed: bool = False
    attempts: int = 0
    trials: int = 0
    mark: int = 0

    @property
    def free(self) -> bool:
        return self.state == "queued" or (self.state == "running" and self.lapsed)


def machine(store: FrontierStore, build: Any) -> type[RuleBasedStateMachine]:
    class Queue(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.kind = f"kind {next(NUMBERS)}"
            self.models: list[Model] = []
            self.leases: list[tuple[Model, Lease]] = []
            for claimed in iter(lambda: store.jobs.claim("rest", [SEARCH]), None):
                store.jobs.finish(claimed[1], "done")

        @precondition(lambda self: len(self.models) < 4)
        @rule()
        def create(self) -> None:
            name = f"search {next(NUMBERS)}"
            store.create_search(build.search(name, state="queued"))
            self.models.append(Model(name, store.jobs.of_search(name).id))

        @rule(seconds=st.sampled_from([PAST, FUTURE, FUTURE]))
        def claim(self, seconds: float) -> None:
            expected = None
            for model in sorted(self.models, key=lambda each: each.id):
                if model.local or not model.free:
                    continue
                if model.cancelling:
                    self._end(model, "cancelled")
                    continue
                model.attempts = 1 if model.trials > model.mark else model.attempts + 1
                model.mark = model.trials
                if model.attempts > ATTEMPTS:
                    self._end(model, "failed")
                    continue
                expected = model
                break
            claimed = store.jobs.claim("runner", [SEARCH], seconds)
            assert (claimed and claimed[0].id) == (expected and expected.id)
            if claimed is not None and expected is not None:
                self._hold(expected, claimed[1], seconds)

        @precondition(lambda self: self.models)
        @rule(data=st.data(), seconds=st.sampled_from([PAST, FUTURE]))
        def drive(self, data: st.DataObject, seconds: float) -> None:
            model = data.draw(st.sampled_from(self.models))
            try:
                lease = store.jobs.drive(model.name, f"driver {next(NUMBERS)}", seconds)
            except BusyError:
                assert model.state == "running"
                assert not model.lapsed
                return
            assert model.state != "running" or model.lapsed
            model.local, model.cancelling, model.attempts = True, False, 1
            self._hold(model, lease, seconds)

        @precondition(lambda self: self.leases)
        @rule(data=st.data(), what=st.sampled_from(["record", "beat", "finish", "give back", "state"]))
        def use(self, data: st.DataObject, what: str) -> None:
            model, lease = data.draw(st.sampled_from(self.leases))
            own, number = store.under(lease), next(NUMBERS)
            calls = {
                "record": lambda: own.record(model.name, build.trial(number), build.point(number, 0.5, 1, 1)),
                "beat": lambda: store.jobs.beat(lease, FUTURE),
                "finish": lambda: store.jobs.finish(lease, "done"),
                "give back": lambda: store.jobs.give_back(lease),
                "state": lambda: own.set_state(model.name, "failed", "so"),
            }
            if model.valid != lease:
                with pytest.raises(LeaseLostError):
                    calls[what]()
                return
            answer = calls[what]()
            if what == "record":
                model.trials += 1
            elif what == "beat":
                assert answer == model.cancelling
                model.lapsed = False
            elif what == "give back":
                model.state, model.valid, model.lapsed = "queued", None, False
                model.attempts = max(0, model.attempts - 1)
            else:
                self._end(model, "done" if what == "finish" else "failed")

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def cancel(self, data: st.DataObject) -> None:
            model = data.draw(st.sampled_from(self.models))
            store.jobs.cancel(model.id)
            if model.state not in ENDED:
                model.cancelling = True
                if model.free:
                    self._end(model, "cancelled")

        @precondition(lambda self: self.models)
        @rule(data=st.data())
        def queue(self, data: st.DataObject) -> None:
            model = data.draw(st.sampled_from(self.models))
            busy = model.state in ("queued", "running") and not model.local
            busy = busy or (model.state == "running" and not model.lapsed)
            if busy:
                with pytest.raises(BusyError):
                    store.jobs.queue(SEARCH, model.name)
                return
            store.jobs.queue(SEARCH, model.name)
            model.state, model.local, model.cancelling = "queued", False, False
            model.attempts, model.valid, model.lapsed = 0, None, False

        @invariant()
        def agree(self) -> None:
            for model in self.models:
                job, record = store.jobs.job(model.id), store.search(model.name)
                assert (job.state, record.state) == (model.state, model.state)
                assert (job.local, record.trials) == (model.local, model.trials)
                assert (job.lease_until is not None) == (model.state == "running")

        def _hold(self, model: Model, lease: Lease, seconds: float) -> None:
            assert all(lease.token > other.token for owner, other in self.leases if owner is model)
            model.state, model.valid, model.lapsed = "running", lease, seconds < 0
            self.leases.append((model, lease))

        @staticmethod
        def _end(model: Model, state: str) -> None:
            model.state, model.valid, model.lapsed = state, None, False

    return Queue


@pytest.fixture
def queue(shared: FrontierStore, build: Any) -> type[RuleBasedStateMachine]:
    return machine(shared, build)


def test_any_order_of_calls(queue: type[RuleBasedStateMachine]) -> None:
    case = queue.TestCase
    case.settings = settings(
        max_examples=20,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
