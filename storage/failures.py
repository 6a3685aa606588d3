"""What goes wrong with a database, in words: the one place where errors of drivers become `StorageError`."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.util import CommandError
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from targets.errors import LeanfrontError, StorageError

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
"""Name of SQLite's error, or the start of it -> what it means for the user and what to do."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn whatever a driver, SQLAlchemy or alembic raises into a `StorageError`.

    Args:
        url: the database's, without its password, for the message.
    """
    try:
        yield
    except LeanfrontError:
        raise
    except (SQLAlchemyError, sqlite3.Error, CommandError, OSError, OverflowError, UnicodeError) as error:
        # Not chained: the traceback of a full disk says nothing that the message does not.
        raise StorageError(_message(error, url)) from None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end: a KeyboardInterrupt within SQLAlchemy's clean-up is printed and lost.

    Only the main thread is ever interrupted, and only where Ctrl-C means KeyboardInterrupt.
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
    if isinstance(error, PoolTimeout):
        return f"too many threads use the database {url} at once: lower their number ({detail})"
    if isinstance(error, IntegrityError):
        return f"the database {url} refuses a row that contradicts another: {detail}"
    if isinstance(error, OperationalError | InterfaceError) and code is None:
        return f"the database {url} cannot be reached: check that its server runs and lets you in ({detail})"
    if isinstance(cause, TypeError | ValueError | OverflowError) and not isinstance(error, DBAPIError):
        return f"the database {url} cannot hold a value: {detail}"
    return f"the database {url} failed: {detail}; run `leanfront database check`"
