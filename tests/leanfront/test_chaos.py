"""The whole service under what goes wrong: real processes, killed, frozen and cut off; a real PostgreSQL, restarted.

What each process said, and what was done to it when, is printed where a test fails.
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url, text

import leanfront
from leanfront.core import search as searching
from leanfront.core.search import SearchOptions
from leanfront.core.storage import ArtifactStore, FrontierStore, Shelf
from leanfront.core.storage.jobs import ATTEMPTS, ENDED, SEARCH, held
from leanfront.errors import StorageError
from tests.forked import Forks

HERE = Path(__file__).parent
SLOW = f"{HERE / 'slow.py'}:target"
SEED = 20_240
KILLS = 3
"""Runners and pool processes to kill, of each; three times as many with ``--thorough``."""
LEASE = 3.0


def _beside(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


crews, witness = _beside("crew"), _beside("witness")
wait_for: Callable[..., None] = crews.wait_for
trials_of, require_sound, require_no_rows = witness.trials_of, witness.require_sound, witness.require_no_rows
following, asking = witness.following, witness.asking


@pytest.fixture
def crew(tmp_path: Path, forks: Forks) -> Iterator[Any]:
    """Starts processes, kills what is left of them, and tells the story of a test that fails."""
    made = crews.Crew(tmp_path, forks)
    try:
        yield made
    finally:
        made.close()
        print(made.story())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation sleeps for 0.15 seconds: three batches."""
    monkeypatch.setenv("SLOW_SECONDS", "0.05")


@pytest.fixture
def breakable(postgresql: Any) -> Iterator[Any]:
    """A PostgreSQL server of the test's own."""
    with type(postgresql)(fsync="off", jit="off") as server:
        yield server


def queue(store: FrontierStore, name: str, trials: int, **options: Any) -> None:
    options = {"sampler": "random", "false_elimination": 0.0, **options}
    store.create_search(searching.queued(name, SLOW, SearchOptions(trials=trials, **options)))


def impatient(url: str) -> str:
    """A PostgreSQL address whose connections do not wait long for a client that has fallen silent."""
    return (
        make_url(url)
        .update_query_dict({"options": "-c idle_in_transaction_session_timeout=5s"})
        .render_as_string(hide_password=False)
    )


@pytest.mark.slow
def test_many_kills(
    crew: Any, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thorough: bool
) -> None:
    """Three runners, three searches, a SIGKILL after every progress; and one is frozen for longer than its lease."""
    times = 3 if thorough else 1
    going_on = tmp_path / "kills"
    going_on.touch()
    monkeypatch.setenv("SLOW_SECONDS", "0.5")
    monkeypatch.setenv("SLOW_WHILE", str(going_on))
    url = impatient(postgresql_url)
    store = FrontierStore(postgresql_url)
    goals = {"alpha": 90 * times, "beta": 90 * times, "gamma": 50 * times}
    queue(store, "alpha", goals["alpha"])
    queue(store, "beta", goals["beta"], seed=1)
    queue(store, "gamma", goals["gamma"], sampler="auto", false_elimination=0.05)
    runners = [crew.worker(f"runner-{number}", url, lease=LEASE) for number in range(3)]
    watch = witness.Watch(store, list(goals))
    wait_for(lambda: all(watch.look().values()), "a trial of each search", 300)
    dice = random.Random(SEED)
    crew.note(f"the kills begin, seed {SEED}: {watch.look()}")
    killed: Counter[str] = Counter()
    orphans: list[int] = []
    freeze = crews.Freeze(crew, store, runners, list(goals))
    next_kill, seen = time.monotonic(), watch.look()
    aim = "runner"
    while few(killed, times) or not freeze.over:
        time.sleep(0.3)
        progress = watch.look()
        assert progress != goals, f"the searches are done, and only {dict(killed)} were killed"
        if killed.total() > 2:
            freeze.go_on()
        # On a busy machine "every few seconds" is longer: it must be able to start what is killed.
        if time.monotonic() < next_kill or progress == seen:
            continue
        # What gets nowhere in `ATTEMPTS` claims is given up; that has a test of its own.
        jobs = [store.jobs.of_search(name) for name in goals]
        spared = [job.runner for job in jobs if job.state == "running" and job.attempts >= ATTEMPTS - 2]
        awake = [runner for runner in runners if not runner.frozen]
        # What to kill next is settled before who is: on a busy machine few runners have a pool at any moment.
        victims = (
            [runner for runner in awake if runner.pool]
            if aim == "pool"
            else [runner for runner in awake if not any(map(runner.is_runner, spared))]
        )
        if not victims:
            continue
        next_kill, seen = time.monotonic() + dice.uniform(0.5, 3), progress
        member = dice.choice(victims)
        pool = member.pool
        if aim == "runner":
            orphans += pool
            crew.note(f"SIGKILL {member.name} ({member.pid}); {progress}")
            member.kill()
            member.start()
        elif pool:
            victim = dice.choice(pool)
            crew.note(f"SIGKILL pool process {victim} of {member.name}; {progress}")
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        else:
            continue
        killed[aim] += 1
        aim = "runner" if dice.random() < 0.4 else "pool"
    crew.note(f"the kills end: {dict(killed)}")
    going_on.unlink()
    wait_for(lambda: watch.look() == goals, "all trials", 300)
    wait_for(lambda: all(store.search(name).state in ENDED for name in goals), "the ends of the searches")
    crew.note("all is done")
    watch.look()
    require_sound(store, url, goals)
    crew.end()
    require_no_rows(store, runners)
    wait_for(lambda: all(map(crews.gone, orphans)), "the pool processes of killed runners end", 30)
    # Random trials depend on their number alone: they are those of a search that nobody disturbed.
    monkeypatch.delenv("SLOW_SECONDS")
    leanfront.search(
        leanfront.resolve(SLOW),
        name="undisturbed",
        trials=40,
        sampler="random",
        false_elimination=0.0,
        database=f"sqlite:///{tmp_path}/undisturbed.db",
    )
    with FrontierStore(f"sqlite:///{tmp_path}/undisturbed.db") as undisturbed:
        assert configurations(store, "alpha", 40) == configurations(undisturbed, "undisturbed", 40)


def few(killed: Counter[str], times: int) -> bool:
    return min(killed["runner"], killed["pool"]) < KILLS * times


def configurations(store: FrontierStore, name: str, trials: int) -> list[Any]:
    """The first trials by number: what was asked, and the costs of it."""
    digests = {c.id: c.configuration.digest for c in store.candidates(name, failed=True)}
    found = sorted(store.trials(name), key=lambda trial: trial.number)[:trials]
    return [(t.number, dict(t.parameters), digests[t.candidate], (t.values or ())[1:]) for t in found]


@pytest.mark.slow
def test_postgresql_is_restarted_under_load(crew: Any, breakable: Any, patient: None) -> None:
    """Stopped as an operator would, killed, and its connections ended again and again."""
    url = breakable.url(breakable.create())
    store = FrontierStore(url)
    goals = {"alpha": 60, "beta": 60}
    for seed, name in enumerate(goals):
        queue(store, name, goals[name], seed=seed)
    runners = [crew.worker(f"runner-{number}", url, workers=1 + number, lease=LEASE) for number in range(2)]
    (address,) = crew.servers(["server"], url, f"slow={SLOW}")
    watch = witness.Watch(store, list(goals))
    with following(address, "alpha") as events, asking(f"{address}/api/v1/searches/alpha") as answers:
        for what, stop in (
            ("stopped", breakable.stop),
            ("killed", lambda: murder(breakable)),
        ):
            seen = watch.look()
            # On a busy machine one of them may have come to its end before the other has begun.
            aims = {name: min(seen[name] + 6, goal) for name, goal in goals.items()}
            wait_for(lambda aims=aims: all(n >= aims[s] for s, n in watch.look().items()), "progress")
            crew.note(f"PostgreSQL is {what}; {watch.look()}")
            stop()
            count = len(answers)
            wait_for(lambda count=count: len(answers) > count + 5, "answers without a database", 10)
            refused = httpx2.post(f"{address}/api/v1/searches", json={"target": "slow", "name": "new"})
            assert refused.status_code == 503, refused.text
            bring_up(breakable)
            crew.note("PostgreSQL is back")
            wait_for(lambda: answers[-1].status_code == 200, "the server recovers", 20)
        seen = watch.look()
        wait_for(lambda: any(n > seen[s] for s, n in watch.look().items()), "progress")
        for _ in range(4):
            ended = end_connections(store)
            crew.note(f"{ended} connections ended; {watch.look()}")
            time.sleep(0.5)
        wait_for(lambda: all(store.search(name).state in ENDED for name in goals), "the end")
        wait_for(lambda: events.over, "the events' end", 20)
    watch.look()
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["type"] == "urn:leanfront:problem:storage"
            assert int(answer.headers["retry-after"]) > 0
    # A search that was refused was not queued in secret.
    assert [record.name for record in store.searches()] == list(goals)
    assert events.trials == list(range(1, goals["alpha"] + 1))
    assert all(member.running for member in crew.members)
    require_sound(store, url, goals)
    crew.end()
    require_no_rows(store, runners)
    assert "Traceback" not in "".join(member.said for member in crew.members)


def end_connections(store: FrontierStore) -> int:
    """End all connections of the database but this one; how many they were."""
    ending = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with store.database.reading() as session:
        return len(session.execute(ending).all())


def murder(server: Any) -> None:
    """SIGKILL the postmaster: its processes find out by themselves."""
    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    wait_for(lambda: not server.running, "the postmaster is gone", 10)


def bring_up(server: Any) -> None:
    """Start a server whose last processes may still be ending."""
    for attempt in range(20):
        try:
            server.start()
            return
        except RuntimeError:
            assert attempt < 19
            time.sleep(0.5)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A folder for artifacts, soon full."""
    disk = crews.SmallDisk(tmp_path / "small")
    try:
        yield disk
    finally:
        disk.close()


@pytest.mark.slow
def test_the_disk_of_the_artifacts_is_full(
    crew: Any, postgresql_url: str, small_disk: Any, tmp_path: Path
) -> None:
    """A search that cannot keep its weights is given up with the reason; others go on; later it goes on too."""
    store = FrontierStore(postgresql_url)
    full = tmp_path / "full"
    full.touch()
    # The first search must outlast all attempts at the second: three seconds for each of its trials, until then.
    artifacts = {"LEANFRONT_ARTIFACTS": str(small_disk.folder), "SLOW_SECONDS": "1", "SLOW_WHILE": str(full)}
    goals = {"first": 60, "second": 12}
    queue(store, "first", goals["first"])
    crew.worker("one", postgresql_url, workers=1, **artifacts)
    wait_for(lambda: trials_of(store, "first"), "the first search has begun")
    kept = ArtifactStore(small_disk.folder)
    whole = {digest: kept.get(digest) for digest in kept}
    assert store.search("first").artifact in whole
    small_disk.fill()
    queue(store, "second", goals["second"], seed=1)
    second = crew.worker("two", postgresql_url, workers=1, prefix=small_disk.prefix, **artifacts)
    wait_for(lambda: store.search("second").state in ENDED, "the end of the second search")
    record = store.search("second")
    assert (record.state, record.trials, record.artifact) == ("failed", 0, None)
    message = record.message or ""
    crew.note(message)
    assert f"given up after {ATTEMPTS} attempts" in message
    assert str(small_disk.folder) in message
    assert small_disk.words in message
    # Nothing half-written but what is just being written, and what was there is whole.
    wait_for(lambda: not list(small_disk.folder.glob(".tmp-*")), "nothing is half-written", 20)
    assert {digest: kept.get(digest) for digest in whole} == whole
    assert all(kept.get(digest) for digest in kept)
    before = store.search("first")
    assert before.state == "running"
    wait_for(lambda: trials_of(store, "first") > before.trials, "the other search goes on")
    small_disk.free()
    full.unlink()
    second.ask_to_end()
    assert second.end() == 0
    store.jobs.queue(SEARCH, "second")
    crew.worker("three", postgresql_url, workers=1, **artifacts)
    wait_for(lambda: all(store.search(name).state in ENDED for name in goals), "the ends of both")
    require_sound(store, postgresql_url, goals)
    crew.end()


@pytest.mark.slow
def test_two_servers_on_one_database(crew: Any, postgresql_url: str) -> None:
    """Whichever is asked, it is one service."""
    store = FrontierStore(postgresql_url)
    servers = crew.servers(("left", "right"), postgresql_url, f"slow={SLOW}")
    searches = [f"{address}/api/v1/searches" for address in servers]
    start = threading.Barrier(16)

    def create(number: int) -> httpx2.Response:
        start.wait(20)
        return httpx2.post(
            searches[number % 2], json={"target": "slow", "name": "contested", "trials": 5}, timeout=20
        )

    with ThreadPoolExecutor(16) as executor:
        answers = list(executor.map(create, range(16)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 15}
    taken = [answer.json() for answer in answers if answer.status_code == 409]
    assert {problem["type"] for problem in taken} == {"urn:leanfront:problem:name-taken"}
    crew.note("one of 16 requests was first")
    wanted = {"target": "slow", "name": "shared", "trials": 100_000, "sampler": "random"}
    assert httpx2.post(searches[0], json=wanted).status_code == 201
    left, right = (httpx2.get(address).json() for address in searches)
    assert left == right
    assert [each["name"] for each in left] == ["contested", "shared"]
    crew.worker("runner", postgresql_url, workers=1)
    with following(servers[0], "shared") as first, following(servers[1], "shared") as second:
        wait_for(lambda: min(len(first.trials), len(second.trials)) >= 10, "ten trials on both")
        crew.note("ten trials on both")
        cancelled = httpx2.post(f"{searches[1]}/shared/cancel")
        assert cancelled.status_code == 202
        assert cancelled.json()["state"] in ("cancelling", "cancelled")
        wait_for(lambda: first.over and second.over, "both hear of the end")
    crew.note("both have heard of the end")
    assert first.state == second.state == "cancelled"
    count = trials_of(store, "shared")
    assert first.trials == second.trials == list(range(1, count + 1))
    one, other = (httpx2.get(f"{address}/shared").json() for address in searches)
    assert one == other
    assert (one["state"], one["trials"]) == ("cancelled", count)
    assert [httpx2.get(address).json() for address in searches].count(httpx2.get(searches[0]).json()) == 2
    require_sound(store, postgresql_url, {"contested": 5})
    crew.end()


@pytest.mark.slow
def test_a_runner_cut_off_from_the_database(crew: Any, postgresql_url: str, patient: None) -> None:
    """It hears nothing and nobody hears it: another goes on, and it comes back to other work."""
    url = impatient(postgresql_url)
    store = FrontierStore(postgresql_url)
    goals = {"alpha": 80, "beta": 12}
    queue(store, "alpha", goals["alpha"])
    proxies = [crews.Proxy(Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432") for _ in range(2)]
    try:
        runners = [
            crew.worker(f"runner-{number}", proxy.url(url), workers=1) for number, proxy in enumerate(proxies)
        ]
        watch = witness.Watch(store, ["alpha"])
        wait_for(lambda: watch.look()["alpha"] >= 5, "five trials")
        wait_for(lambda: len(store.jobs.runners()) == 2, "the other runner is there")
        driver = store.jobs.of_search("alpha").runner
        (cut, proxy), (other, _) = sorted(
            zip(runners, proxies, strict=True), key=lambda pair: not pair[0].is_runner(driver)
        )
        proxy.cut()
        seen = watch.look()["alpha"]
        crew.note(f"{cut.name} is cut off at {seen} trials")
        wait_for(lambda: other.is_runner(store.jobs.of_search("alpha").runner), "the other takes over", 30)
        wait_for(lambda: watch.look()["alpha"] > seen + 3, "the other goes on")
        assert cut.running
        proxy.heal()
        crew.note(f"healed; {watch.look()}")
        queue(store, "beta", goals["beta"], seed=1)
        wait_for(lambda: cut.is_runner(store.jobs.of_search("beta").runner), "it takes other work", 30)
        crew.note(f"it is back; {watch.look()}")
        assert other.is_runner(store.jobs.of_search("alpha").runner)
        assert store.search("alpha").state == "running"
        wait_for(lambda: all(store.search(name).state in ENDED for name in goals), "the ends of both")
        crew.note("both have ended")
        watch.look()
        require_sound(store, url, goals)
        crew.end()
        require_no_rows(store, runners)
    finally:
        for proxy in proxies:
            proxy.close()


def test_a_client_that_falls_silent_in_a_transaction_does_not_keep_others_out(postgresql_url: str) -> None:
    """Frozen, or cut off, between two statements: its locks end with the server's patience, not with it."""
    with FrontierStore(postgresql_url) as store, store.database.reading() as session:
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"
    url = impatient(postgresql_url)
    with FrontierStore(url) as store, FrontierStore(url) as others:
        queue(store, "a", 5)
        claimed = store.jobs.claim("silent", [SEARCH], seconds=0.1)
        assert claimed is not None

        def fall_silent() -> None:
            with store.database.writing() as session:
                held(session, claimed[1])
                time.sleep(0.2)
                assert others.jobs.claim("other", [SEARCH]) is None
                wait_for(lambda: others.jobs.claim("other", [SEARCH]), "another claims it", 20)
                session.execute(text("SELECT 1"))

        with pytest.raises(StorageError):
            fall_silent()
        assert others.jobs.of_search("a").runner == "other"


def test_several_runners_note_the_same_weights_at_once(postgresql_url: str, tmp_path: Path) -> None:
    """Searches on one target begin together: they keep the same file."""
    start = threading.Barrier(8)
    folder = ArtifactStore(tmp_path / "artifacts")
    with FrontierStore(postgresql_url) as store:
        for number in range(8):
            store.create_search(searching.queued(str(number), "digits", SearchOptions(trials=1)))

    def note(number: int) -> None:
        with FrontierStore(postgresql_url) as store:
            for content in (b"a", b"b", b"c", b"d"):
                start.wait(20)
                Shelf(store.database, folder).keep_weights(str(number), content)

    with ThreadPoolExecutor(8) as executor:
        list(executor.map(note, range(8)))
    with FrontierStore(postgresql_url) as store:
        (kept,) = {record.artifact for record in store.searches()}
        assert kept is not None
        assert store.artifact(kept).bytes == 1
        # What they no longer need is gone.
        assert list(folder) == [kept]
