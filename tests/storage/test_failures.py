from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.database import open_database
from storage.failures import SQLITE_ADVICE, translated
from targets.errors import NotFoundError, StorageError


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
