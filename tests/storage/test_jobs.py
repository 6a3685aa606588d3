from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from leanfront.core.objectives import Measurement
from leanfront.core.storage import FrontierStore, Job, Lease, check, runner_name
from leanfront.core.storage.jobs import ATTEMPTS, SEARCH
from leanfront.core.storage.tables import Base, JobRow
from leanfront.errors import (
    BusyError,
    LeaseLostError,
    NameTakenError,
    NotFoundError,
    StorageError,
    UsageError,
)

KINDS = (SEARCH, "audit")


def queued(store: FrontierStore, build: Any, name: str = "mine") -> Job:
    store.create_search(build.search(name, state="queued"))
    return store.jobs.of_search(name)


def taken(store: FrontierStore, runner: str = "one", seconds: float = 60.0) -> tuple[Job, Lease]:
    claimed = store.jobs.claim(runner, KINDS, seconds)
    assert claimed is not None
    return claimed


def lapse(store: FrontierStore, job: int) -> None:
    """As after a minute: the lease is over."""
    with store.database.writing() as session:
        past = store.database.now(session) - timedelta(seconds=1)
        session.execute(update(JobRow).where(JobRow.id == job).values(lease_until=past))


def everything(store: FrontierStore) -> dict[str, Any]:
    """All rows of all tables."""
    with store.database.reading() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table)).all()))
            for table in Base.metadata.sorted_tables
        }


def side_by_side(work: Callable[[int], None], count: int) -> None:
    """Run in threads; the first error is raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def in_two_processes(url: str, work: str) -> list[int]:
    """The numbers that two processes print, begun at one time; the code knows `store`, and `name` of its process."""
    script = (
        "import sys; from leanfront.core.storage import FrontierStore\n"
        "store, name = FrontierStore(sys.argv[1]), sys.argv[2]\n"
        f"print('ready', flush=True); sys.stdin.readline()\n{work}\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return [int(line) for process in processes for line in process.communicate(timeout=120)[0].split()]


def test_a_search_is_queued_claimed_and_ended(store: FrontierStore, build: Any) -> None:
    job = queued(store, build)
    assert (job.kind, job.search, job.state, job.local, job.attempts) == (SEARCH, "mine", "queued", False, 0)
    assert store.jobs.claim("one", ["audit"]) is None
    claimed, lease = taken(store)
    assert claimed.id == lease.job == job.id
    assert (claimed.state, claimed.runner, claimed.attempts) == ("running", "one", 1)
    assert claimed.lease_until is not None
    assert store.search("mine").state == "running"
    assert store.jobs.claim("two", KINDS) is None
    assert store.jobs.beat(lease) is False
    store.jobs.finish(lease, "done", "after 5 trials")
    ended = store.jobs.job(job.id)
    assert (ended.state, ended.message, ended.lease_until) == ("done", "after 5 trials", None)
    assert ended.ended is not None
    assert (store.search("mine").state, store.search("mine").message) == ("done", "after 5 trials")
    assert store.jobs.claim("two", KINDS) is None
    assert store.jobs.counts() == {(SEARCH, "done"): 1}
    with pytest.raises(UsageError, match="not 'running'"):
        store.jobs.finish(lease, "running")
    assert check(store.url).ok


def test_the_oldest_comes_first_and_local_ones_never(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search("local"))
    names = ["c", "a", "b"]
    for name in names:
        queued(store, build, name)
    audit = store.jobs.queue("audit", "local", parameters={"kinds": ["classes"]})
    order = []
    while (claimed := store.jobs.claim("one", KINDS)) is not None:
        order.append((claimed[0].kind, claimed[0].search))
    assert order == [*((SEARCH, name) for name in names), ("audit", "local")]
    assert store.jobs.job(audit.id).parameters == {"kinds": ["classes"]}


def test_what_is_queued_must_be_there(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 10, 10)])
    queued(store, build, "other")
    own = store.frontier("mine")[0]
    assert store.jobs.queue("recover", "mine", candidate=own.id).candidate == own.id
    with pytest.raises(NotFoundError, match="no search named 'none'"):
        store.jobs.queue("audit", "none")
    with pytest.raises(NotFoundError, match="search 'other' has no candidate"):
        store.jobs.queue("audit", "other", candidate=own.id)
    with pytest.raises(BusyError, match="queued already"):
        store.jobs.queue(SEARCH, "other")
    with pytest.raises(NotFoundError, match="no job 99"):
        store.jobs.job(99)
    with pytest.raises(NotFoundError, match="no job 99"):
        store.jobs.cancel(99)


def test_many_claimers_never_share_a_job(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    jobs = {store.jobs.queue("audit", "mine", parameters={"number": number}).id for number in range(40)}
    got: list[int] = []

    def work(number: int) -> None:
        while (claimed := store.jobs.claim(f"runner {number}", KINDS)) is not None:
            got.append(claimed[0].id)
            store.jobs.finish(claimed[1], "done")

    side_by_side(work, 8)
    assert len(got) == len(set(got)) == len(jobs)
    assert set(got) == jobs
    assert store.jobs.counts() == {(SEARCH, "running"): 1, ("audit", "done"): 40}


def test_processes_never_share_a_job(store: FrontierStore, url: str, build: Any) -> None:
    store.create_search(build.search())
    jobs = {store.jobs.queue("audit", "mine", parameters={"number": number}).id for number in range(60)}
    got = in_two_processes(
        url, "while (found := store.jobs.claim(name, ['audit'])) is not None: print(found[0].id, flush=True)"
    )
    assert sorted(got) == sorted(jobs)


AUDIT = {"kinds": ["classes"], "options": {"models": 3, "seed": 0}, "candidates": []}


@pytest.mark.parametrize("on", ["the search", "a candidate"])
def test_of_many_who_queue_the_same_at_once_one_adds_it(store: FrontierStore, build: Any, on: str) -> None:
    build.fill(store, [(0.9, 10, 10)])
    candidate = None if on == "the search" else 1
    for round_ in range(5):
        got: list[int] = []
        parameters = {**AUDIT, "round": round_}

        def work(number: int, got: list[int] = got, parameters: dict[str, Any] = parameters) -> None:
            # An order of keys that JSON does not know.
            shuffled = dict(itertools.islice(itertools.cycle(parameters.items()), number, number + 4))
            got.append(store.jobs.queue("audit", "mine", candidate=candidate, parameters=shuffled).id)

        side_by_side(work, 16)
        assert len(got) == 16
        assert len(set(got)) == 1
        assert store.jobs.job(got[0]).parameters == parameters
    assert store.jobs.counts()["audit", "queued"] == 5
    assert check(store.url).ok


def test_of_two_processes_that_queue_the_same_one_adds_it(store: FrontierStore, url: str, build: Any) -> None:
    store.create_search(build.search())
    work = (
        "for number in range(100):\n"
        "    print(store.jobs.queue('audit', 'mine', parameters={'number': number}).id, flush=True)"
    )
    got = in_two_processes(url, work)
    assert got[:100] == got[100:] == sorted(set(got))
    assert store.jobs.counts()["audit", "queued"] == 100


def test_the_same_is_queued_again_when_it_has_ended_or_is_being_cancelled(
    store: FrontierStore, build: Any
) -> None:
    build.fill(store, [(0.9, 10, 10)])

    def queue(parameters: dict[str, Any] = AUDIT, candidate: int | None = None) -> int:
        return store.jobs.queue("audit", "mine", candidate=candidate, parameters=parameters).id

    def claim() -> Lease:
        claimed = store.jobs.claim("one", ["audit"])
        assert claimed is not None
        return claimed[1]

    first = queue()
    # Other parameters, and the same on a candidate, are other jobs.
    others = {queue({**AUDIT, "kinds": ["exemplars"]}), queue(candidate=1), queue({})}
    assert len({first, *others}) == 4
    for identifier in others:
        store.jobs.cancel(identifier)
    assert queue() == first
    # It runs, is given back, is lost and taken over: the same all the time.
    lease = claim()
    assert queue() == first
    store.jobs.give_back(lease)
    assert queue() == first
    claim()
    lapse(store, first)
    assert queue() == first
    store.jobs.finish(claim(), "done")
    second = queue()
    assert second != first
    # Failed; cancelled before it ran; given up.
    store.jobs.finish(claim(), "failed", "no memory")
    third = queue()
    store.jobs.cancel(third)
    fourth = queue()
    assert len({first, second, third, fourth}) == 4
    for _ in range(ATTEMPTS):
        store.jobs.give_back(claim(), "the data are not there")
        assert queue() == fourth
    assert store.jobs.claim("one", ["audit"]) is None
    assert store.jobs.job(fourth).state == "failed"
    # While it is being cancelled another one waits; that the first is given back, or lost, changes nothing.
    fifth = queue()
    lease = claim()
    assert store.jobs.cancel(fifth).to_json()["state"] == "cancelling"
    sixth = queue()
    assert sixth > fifth
    assert queue() == sixth
    store.jobs.give_back(lease)
    assert queue() == sixth
    assert claim().job == sixth
    assert store.jobs.job(fifth).state == "cancelled"
    assert queue() == sixth
    assert check(store.url).ok


def test_the_same_is_queued_while_it_is_claimed_and_ended(store: FrontierStore, build: Any) -> None:
    """Whoever queues gets a job that waits, or had not ended when it was asked for; at most one does at a time."""
    store.create_search(build.search())
    end = time.monotonic() + 2.0
    lost: list[str] = []
    ended: set[int] = set()

    def work(number: int) -> None:
        while time.monotonic() < end:
            if number < 3:
                gone = set(ended)
                job = store.jobs.queue("audit", "mine", parameters=AUDIT)
                if job.id in gone:
                    lost.append(f"job {job.id} had ended")
                if number == 0:
                    store.jobs.cancel(job.id)
            elif (claimed := store.jobs.claim(f"runner {number}", ["audit"])) is not None:
                with suppress(LeaseLostError):
                    store.jobs.finish(claimed[1], "done")
                    ended.add(claimed[0].id)

    side_by_side(work, 5)
    assert not lost
    assert len(ended) > 5
    waiting = [
        count for (kind, state), count in store.jobs.counts().items() if state in ("queued", "running")
    ]
    assert sum(waiting) <= 2  # the search's own job among them
    assert check(store.url).ok


def test_what_no_database_holds_is_refused_before_it_is_queued(store: FrontierStore, build: Any) -> None:
    store.create_search(build.search())
    for parameters in ({"share": float("nan")}, {"set": {1}}):
        with pytest.raises(StorageError, match="cannot hold a value"):
            store.jobs.queue("audit", "mine", parameters=parameters)
    assert store.jobs.counts() == {(SEARCH, "running"): 1}


def test_a_lapsed_lease_is_taken_over_and_the_old_token_is_refused_everywhere(
    store: FrontierStore, build: Any
) -> None:
    job = queued(store, build)
    _, old = taken(store, "first")
    late = store.under(old)
    made = late.record("mine", build.trial(0), build.point(0, 0.9, 10, 10))
    lapse(store, job.id)
    # Nobody took it: what is written under it disturbs nobody.
    late.record("mine", build.trial(1), build.point(1, 0.8, 5, 5))
    again, new = taken(store, "second")
    assert (again.id, again.runner, new.token) == (job.id, "second", old.token + 1)
    before = everything(store)
    writes: list[Callable[[], object]] = [
        lambda: late.record("mine", build.trial(2), build.point(2, 0.99, 1, 1)),
        lambda: late.record_many("mine", [(build.trial(3), build.point(3, 0.99, 1, 1), None)]),
        lambda: late.set_state("mine", "done"),
        lambda: late.set_state("mine", "running", "half-way"),
        lambda: late.set_hypervolume("mine", 0.5, 0.5),
        lambda: late.add_measurements(made.id, [Measurement("accuracy", 0.5, "test")]),
        lambda: late.prepare_search(build.search()),
        lambda: store.jobs.beat(old),
        lambda: store.jobs.finish(old, "done"),
        lambda: store.jobs.give_back(old),
        lambda: store.jobs.give_back(old, "went wrong"),
    ]
    for write in writes:
        with pytest.raises(
            LeaseLostError, match=r"first does not hold job \d+ any more.*last held by second"
        ):
            write()
        assert everything(store) == before
    # The new one goes on, and the old one can still read.
    store.under(new).record("mine", build.trial(2), build.point(2, 0.99, 1, 1))
    assert len(late.trials("mine")) == 3
    assert check(store.url).ok


def test_a_search_is_prepared_once(store: FrontierStore, build: Any) -> None:
    store.create_search(
        build.search(state="queued", fingerprint="", objectives=("accuracy", "memory", "macs"))
    )
    _, lease = taken(store)
    own = store.under(lease)
    assert store.select("mine").feasible is False
    made = own.prepare_search(replace(build.search(), objectives=("accuracy", "memory"), seed=5))
    assert (made.fingerprint, made.objectives) == ("f" * 64, ("accuracy", "memory"))
    assert made.state == "running"
    own.record("mine", build.trial(0), build.candidate(0, {"accuracy": 0.5, "memory_bytes": 3.0}))
    # What was remembered of the search before it was prepared is not used.
    assert [each.number for each in store.frontier("mine")] == [0]
    with pytest.raises(UsageError, match="has trials already"):
        own.prepare_search(build.search())


def test_cancelling(store: FrontierStore, build: Any) -> None:
    job = queued(store, build)
    # Queued: at once.
    assert store.jobs.cancel_search("mine").state == "cancelled"
    assert store.search("mine").state == "cancelled"
    assert store.jobs.claim("one", KINDS) is None
    # Queued again, and running: its runner hears of it.
    store.jobs.queue(SEARCH, "mine")
    _, lease = taken(store)
    shown = store.jobs.cancel(job.id)
    assert (shown.state, shown.cancelling, shown.to_json()["state"]) == ("running", True, "cancelling")
    assert store.jobs.beat(lease) is True
    store.jobs.finish(lease, "cancelled")
    # What has ended stays as it is.
    assert store.jobs.cancel(job.id).state == "cancelled"
    # Running, but its runner is lost: at once.
    store.jobs.queue(SEARCH, "mine")
    _, lease = taken(store)
    lapse(store, job.id)
    assert store.jobs.cancel(job.id).state == "cancelled"
    with pytest.raises(LeaseLostError, match="it is cancelled"):
        store.jobs.beat(lease)
    # Asked to stop, and then its runner is lost: the next claim ends it.
    store.jobs.queue(SEARCH, "mine")
    taken(store)
    store.jobs.cancel(job.id)
    lapse(store, job.id)
    assert store.jobs.claim("two", KINDS) is None
    assert store.search("mine").state == "cancelled"
    assert check(store.url).ok


def test_a_job_that_gets_no_further_is_given_up(store: FrontierStore, build: Any) -> None:
    job = queued(store, build)
    for attempt in range(ATTEMPTS):
        claimed, lease = taken(store, f"runner {attempt}")
        assert claimed.attempts == attempt + 1
        if attempt % 2:
            lapse(store, job.id)
        else:
            store.jobs.give_back(lease, "the data are not there")
            assert store.jobs.job(job.id).message == "the data are not there"
    assert store.jobs.claim("last", KINDS) is None
    ended = store.jobs.job(job.id)
    assert ended.state == "failed"
    assert f"given up after {ATTEMPTS} attempts that got no further: " in str(ended.message)
    assert store.search("mine").state == "failed"
    # Queued again by its owner, it starts anew; given back in order it never counts.
    store.jobs.queue(SEARCH, "mine")
    for _ in range(ATTEMPTS + 2):
        claimed, lease = taken(store)
        assert claimed.attempts == 1
        store.jobs.give_back(lease)
    # Nor does a claim after which trials were stored.
    for number in range(ATTEMPTS + 2):
        claimed, lease = taken(store)
        assert claimed.attempts == 1
        store.under(lease).record("mine", build.trial(number), build.point(number, 0.1, 1, 1))
        lapse(store, job.id)


def test_driving_here_keeps_workers_away(store: FrontierStore, build: Any) -> None:
    job = queued(store, build)
    lease = store.jobs.drive("mine", "here")
    assert store.jobs.claim("one", KINDS) is None
    with pytest.raises(BusyError, match="driven by here"):
        store.jobs.drive("mine", "there")
    with pytest.raises(BusyError, match="driven by here"):
        store.delete_search("mine")
    with pytest.raises(BusyError, match="driven by here"):
        store.jobs.queue(SEARCH, "mine")
    # The same process may begin anew: what it left behind is its own.
    newer = store.jobs.drive("mine", "here")
    with pytest.raises(LeaseLostError):
        store.jobs.beat(lease)
    # Lapsed, it is still nothing for workers.
    lapse(store, job.id)
    assert store.jobs.claim("one", KINDS) is None
    taken_over = store.jobs.drive("mine", "there")
    with pytest.raises(LeaseLostError):
        store.under(newer).record("mine", build.trial(0), build.point(0, 1, 1, 1))
    store.jobs.finish(taken_over, "done")
    # And the other way round.
    store.jobs.queue(SEARCH, "mine")
    taken(store, "a worker")
    with pytest.raises(BusyError, match="driven by a worker"):
        store.jobs.drive("mine", "here")


def test_nobody_waits_for_a_dead_process_of_this_host(store: FrontierStore, build: Any) -> None:
    queued(store, build)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host, process, mark = runner_name().rsplit(":", 2)
    assert int(process) == os.getpid()
    store.jobs.drive("mine", f"{host}:{dead.pid}:{mark}")
    lease = store.jobs.drive("mine", runner_name())
    # Of another host nobody knows.
    store.jobs.finish(lease, "done")
    store.jobs.drive("mine", f"elsewhere:{dead.pid}:{mark}")
    with pytest.raises(BusyError, match="elsewhere"):
        store.jobs.drive("mine", runner_name())


def test_a_deleted_search_takes_its_jobs_with_it(store: FrontierStore, build: Any) -> None:
    build.fill(store, [(0.9, 10, 10)])
    own = store.frontier("mine")[0].id
    audit = store.jobs.queue("audit", "mine", candidate=own)
    _, lease = taken(store)
    assert lease.job == audit.id
    store.delete_search("mine")
    for write in (
        lambda: store.jobs.beat(lease),
        lambda: store.under(lease).add_measurements(own, [Measurement("fog", 1.0)]),
    ):
        with pytest.raises((LeaseLostError, NotFoundError), match=r"it was deleted|no candidate"):
            write()
    assert store.searches() == []
    assert store.jobs.counts() == {}
    with pytest.raises(NotFoundError):
        store.delete_search("mine")
    assert check(store.url).ok


def test_claims_and_writes_while_searches_are_deleted(store: FrontierStore, build: Any) -> None:
    """Nothing but the refusals that are documented, no deadlock, nothing left behind."""
    end = time.monotonic() + 2.0
    claims = []
    numbers = itertools.count()

    def work(number: int) -> None:
        round_ = 0
        while time.monotonic() < end:
            round_ += 1
            name = f"search {round_ % 2}"
            try:
                if number == 0:
                    store.create_search(build.search(name, state="queued"))
                    store.jobs.queue("audit", name)
                elif number == 1:
                    store.delete_search(name)
                else:
                    claimed = store.jobs.claim(f"runner {number}", KINDS)
                    if claimed is None:
                        continue
                    claims.append(claimed[1])
                    own = store.under(claimed[1])
                    fresh = next(numbers)
                    own.record(claimed[0].search, build.trial(fresh), build.point(fresh, 0.5, 1, 1))
                    store.jobs.finish(claimed[1], "done")
            except (NotFoundError, BusyError, LeaseLostError, NameTakenError):
                continue

    side_by_side(work, 5)
    assert len(claims) > 5
    report = check(store.url)
    assert report.ok, report.problems


def test_runners_come_and_go(store: FrontierStore) -> None:
    store.jobs.present("b", "1.0", ["search"])
    store.jobs.present("a", "1.0", ["search", "audit"])
    store.jobs.present("b", "1.1", ["search"])
    found = store.jobs.runners()
    assert [(each.name, each.version, each.kinds) for each in found] == [
        ("a", "1.0", ("search", "audit")),
        ("b", "1.1", ("search",)),
    ]
    assert found[1].seen > found[1].started
    assert store.jobs.runners(seconds=-1) == []
    store.jobs.leave("a")
    store.jobs.leave("a")
    assert [each.name for each in store.jobs.runners()] == ["b"]
