"""Translation of database drivers' errors into `StorageError`."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from leanfront.errors import LeanfrontError, StorageError

SQLITE_ADVICE = {
    "SQLITE_FULL": "is full, or the disk is: nothing of this change was stored; free some space and go on",
    "SQLITE_READONLY": "is read-only: make the file and its folder writable, or work on a copy",
    "SQLITE_CANTOPEN": "cannot be opened: check that its folder exists, that the path is no folder, and that "
    "you may write there (SQLite keeps a -wal and a -shm file beside the database)",
    "SQLITE_PERM": "may not be opened: check the file's permissions",
    "SQLITE_NOTADB": "is not a SQLite database: name another file",
    "SQLITE_CORRUPT": "is damaged: see what `leanfront database check` says, and go back to a copy",
    "SQLITE_BUSY": "is being written by another process and did not become free in time: try again, or see "
    "which process holds it",
    "SQLITE_IOERR": "could not be read or written: check the disk (it may be full or failing)",
}
"""SQLite error name, or a prefix of it -> what it means for the user and what to do."""

POSTGRESQL_ADVICE = {
    "40": "undid this change because of another one made at the same time: try again",
    "55P03": "is locked by another process and did not become free in time: try again",
    "57014": "was told to stop this change: try again",
    "57P": "is stopping, starting or was restarted, or ended this connection: nothing of this change was stored; "
    "try again",
    "25P03": "ended a transaction in which this process did nothing for too long (was it frozen?): nothing of this "
    "change was stored; try again",
    "25006": "is read-only: is it a replica, or locked by its operator?",
    "42501": "forbids this to its user: let it create and change tables",
    "53100": "is full, or the disk of its server is: nothing of this change was stored; free some space and go on",
    "53": "has run out of memory, or of another resource: nothing of this change was stored",
    "58": "could not be read or written: check the disk of its server",
    "XX": "is damaged, or its server has a bug: see the server's log, and what `leanfront database check` says",
}
"""PostgreSQL error code (SQLSTATE), or a prefix of it -> the same; longer prefixes come first."""


class UnstorableError(ValueError):
    """A value that the database cannot store."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn errors of a driver or of SQLAlchemy into `StorageError`.

    Args:
        url: address of the database without its password, for the message.
    """
    try:
        yield
    except LeanfrontError:
        raise
    except (
        SQLAlchemyError,
        sqlite3.Error,
        OSError,
        OverflowError,
        UnicodeError,
        UnstorableError,
    ) as error:
        # Not chained: the traceback adds nothing to the message.
        raise StorageError(_message(error, url)) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block.

    A KeyboardInterrupt inside SQLAlchemy's clean-up would be printed and lost.

    Only the main thread is ever interrupted, and only if Ctrl-C raises KeyboardInterrupt.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is not signal.default_int_handler:
        yield
        return
    waiting: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if waiting:
            raise KeyboardInterrupt


def _message(error: Exception, url: str) -> str:
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    detail = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    code = getattr(cause, "sqlite_errorname", None)
    if code is not None:
        for start, advice in SQLITE_ADVICE.items():
            if code.startswith(start):
                return f"the database {url} {advice} ({detail})"
    state = getattr(cause, "sqlstate", None) or ""
    for start, advice in POSTGRESQL_ADVICE.items():
        if state.startswith(start):
            return f"the database {url} {advice} ({detail})"
    if isinstance(error, PoolTimeout):
        return f"too many threads use the database {url} at once: lower their number ({detail})"
    if isinstance(error, IntegrityError):
        return f"the database {url} refuses a row that contradicts another: {detail}"
    if isinstance(error, OperationalError | InterfaceError) and code is None:
        return f"the database {url} cannot be reached: check that its server runs and lets you in ({detail})"
    unfit = isinstance(cause, TypeError | ValueError | OverflowError) and not isinstance(error, DBAPIError)
    if unfit or isinstance(error, DataError):
        return f"the database {url} cannot hold a value: {detail}"
    return f"the database {url} failed: {detail}; run `leanfront database check`"
