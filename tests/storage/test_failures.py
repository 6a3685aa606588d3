from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from leanfront.core.storage import Database, FrontierStore
from leanfront.core.storage.database import open_database
from leanfront.core.storage.failures import SQLITE_ADVICE, translated
from leanfront.errors import NotFoundError, StorageError


def coded(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize("start", SQLITE_ADVICE)
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_sqlite_error_has_its_advice(start: str, wrapped: bool) -> None:
    # Extended codes continue the name: SQLITE_IOERR_WRITE.
    cause = coded(f"{start}_EXTENDED")
    error = OperationalError("SELECT 1", {}, cause) if wrapped else cause
    with pytest.raises(StorageError) as caught, translated("sqlite:///x.db"):
        raise error
    text = str(caught.value)
    assert SQLITE_ADVICE[start] in text
    assert "sqlite:///x.db" in text
    assert "what SQLite says" in text
    assert "SELECT" not in text
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OperationalError("S", {}, Exception("connection refused\nmore")), "check that its server runs"),
        (IntegrityError("S", {}, Exception("UNIQUE failed")), "contradicts another: UNIQUE failed"),
        (PoolTimeout("pool"), "too many threads"),
        (OverflowError("too large"), "cannot hold a value: too large"),
        (UnicodeEncodeError("utf-8", "x\ud800", 1, 2, "surrogates not allowed"), "cannot hold a value"),
        (PermissionError(13, "Permission denied", "x"), "failed: .*Permission denied"),
        (NoResultFound("no row"), "failed: no row; run `leanfront database check`"),
        (sqlite3.OperationalError("no such table: x"), "failed: no such table: x"),
    ],
)
def test_other_errors_are_told(error: Exception, message: str) -> None:
    with pytest.raises(StorageError, match=message), translated("sqlite:///x.db"):
        raise error


def test_our_own_errors_and_bugs_pass() -> None:
    with pytest.raises(NotFoundError, match=r"^mine$"), translated("sqlite:///x.db"):
        raise NotFoundError("mine")
    with pytest.raises(ZeroDivisionError), translated("sqlite:///x.db"):
        raise ZeroDivisionError


def test_ctrl_c_waits_for_the_end_of_a_transaction(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'a.db'}")

    def interrupted() -> None:
        with database.writing() as session:
            session.execute(text("CREATE TABLE kept (value INTEGER)"))
            os.kill(os.getpid(), signal.SIGINT)
            session.execute(text("INSERT INTO kept VALUES (1)"))

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with database.reading() as session:
        assert session.execute(text("SELECT value FROM kept")).scalar() == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    database.close()


def test_a_server_that_goes_away_is_said_to_be_and_found_again(postgresql: Any, postgresql_url: str) -> None:
    with FrontierStore(postgresql_url) as store:
        assert store.searches() == []
        # Idle connections are made anew without anybody hearing of it.
        postgresql.restart(at_once=True)
        assert store.searches() == []
        postgresql.stop()
        try:
            with pytest.raises(StorageError, match="cannot be reached: check that its server runs"):
                store.searches()
        finally:
            postgresql.start()
        assert store.searches() == []


def test_a_server_that_goes_away_in_the_middle_undoes_the_change(
    postgresql: Any, postgresql_url: str, build: Any
) -> None:
    with FrontierStore(postgresql_url) as store:
        store.create_search(build.search())
        for stop in (lambda: postgresql.restart(at_once=True), lambda: kill(store)):

            def work(stop: Any = stop) -> None:
                with store.database.writing() as session:
                    session.execute(text("UPDATE leanfront_searches SET message = 'half'"))
                    stop()
                    session.execute(text("SELECT 1"))

            with pytest.raises(
                StorageError, match=r"cannot be reached|ended this connection: nothing of this"
            ):
                work()
            assert store.search("mine").message is None


def kill(store: FrontierStore) -> None:
    """End all other connections to the store's database."""
    with store.database.writing() as session:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        session.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))


def test_a_frozen_writer_does_not_keep_its_locks(
    postgresql_url: str, build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leanfront.core.storage.database.IDLE_SECONDS", 0.5)
    with FrontierStore(postgresql_url) as frozen, FrontierStore(postgresql_url) as other:
        other.create_search(build.search(state="queued"))
        claimed = other.jobs.claim("frozen", ["search"], 0.2)
        assert claimed is not None

        def write() -> None:
            with frozen.under(claimed[1])._changing("mine") as (session, row):
                row.message = "late"
                session.flush()
                time.sleep(1.5)
                # By then its lease has lapsed, its transaction is over, and another has the job.
                again = other.jobs.claim("awake", ["search"])
                assert again is not None
                session.execute(text("SELECT 1"))

        with pytest.raises(StorageError, match="did nothing for too long"):
            write()
        assert other.search("mine").message is None
        assert other.jobs.of_search("mine").runner == "awake"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SET TRANSACTION READ ONLY; DELETE FROM leanfront_jobs", "is read-only: is it a replica"),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$",
            "another one made at the same time: try",
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$",
            "another one made at the same time: try",
        ),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$",
            "is full, or the disk of its server is",
        ),
        ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '58030'; END $$", "check the disk of its server"),
        (
            "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX001'; END $$",
            "is damaged, or its server has a bug",
        ),
        ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(1)", "was told to stop this change: try again"),
        ("INSERT INTO leanfront_artifacts VALUES (repeat('a', 65), 'k', 1, now())", "cannot hold a value"),
    ],
)
def test_errors_of_postgresql_have_their_advice(postgresql_url: str, sql: str, message: str) -> None:
    database = Database(postgresql_url)

    def run() -> None:
        with database.writing() as session:
            for statement in sql.split("; ") if "DO" not in sql else [sql]:
                session.execute(text(statement))

    with pytest.raises(StorageError, match=message):
        run()
    database.close()


def test_a_database_that_refuses_its_user_is_named(postgresql: Any) -> None:
    postgresql.execute(
        "DO $$ BEGIN CREATE ROLE weak LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    with postgresql.database() as url:
        with pytest.raises(StorageError, match="forbids this to its user: let it create"):
            FrontierStore(url.replace("leanfront@", "weak@"))
        with pytest.raises(StorageError, match=r'cannot be reached.*database "nowhere" does not exist'):
            FrontierStore(postgresql.url("nowhere"))
