"""Database connections: engine, transactions and schema version."""

from __future__ import annotations

import json
import re
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from leanfront.core.storage import schema
from leanfront.core.storage.failures import UnstorableError, translated, uninterrupted
from leanfront.errors import SchemaError, StorageError

BUSY_SECONDS = 30.0
"""How long a SQLite transaction waits for other processes; ``?timeout=SECONDS`` in the URL overrides it."""

CONNECT_SECONDS = 10
"""How long to wait for a database server to answer; ``?connect_timeout=SECONDS`` in the URL overrides it."""

IDLE_SECONDS = 30
"""Idle time after which the server ends a transaction. Otherwise a frozen process would keep its locks for ever
and block whoever takes over its job."""

FORMS = "sqlite:///leanfront.db (a file here), sqlite:////folder/leanfront.db, or postgresql://user@host/name"

SUPPORTED = ("sqlite", "postgresql")

_WRITE = "leanfront_write"
_MIGRATION = 0x6C65616E66726F6E
"""Number of the PostgreSQL advisory lock for migrations: "leanfron" in ASCII."""


class Database:
    """An open database; safe for several threads.

    Args:
        url: address of a SQLite file or a PostgreSQL database.

    Opening checks neither the schema nor, for PostgreSQL, the server; `open_database` does.

    Raises:
        StorageError: the address cannot be used.
    """

    def __init__(self, url: str) -> None:
        address = _address(url)
        self.url = address.render_as_string(hide_password=True)
        self.path = _path(address)
        self.engine = _engine(address, self.url)
        # Close connections even if the caller forgets to.
        weakref.finalize(self, self.engine.dispose)
        self._writer = self.engine.execution_options(**{_WRITE: True})
        # SQLite readers always see one state of the database; PostgreSQL has to be asked for it.
        self._reader = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._single = (
            self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session in a read transaction that sees one consistent state.

        Raises:
            StorageError: the database cannot be read.
        """
        with (
            uninterrupted(),
            translated(self.url),
            Session(self._reader, autoflush=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session in a write transaction, committed at the end and rolled back if anything raises.

        Raises:
            StorageError: the database cannot be written; nothing has changed.
        """
        with (
            uninterrupted(),
            translated(self.url),
            Session(self._writer, autoflush=False, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def now(self, session: Session) -> datetime:
        """Return the database's time in UTC; a server's own clock is used, so clients' clocks do not matter."""
        if self.is_sqlite:
            return datetime.now(UTC)
        moment: datetime = session.scalars(select(func.clock_timestamp())).one()
        return moment.astimezone(UTC)

    @contextmanager
    def connection(self, *, write: bool = False) -> Iterator[Connection]:
        """Open a bare connection in a transaction, for schema changes.

        Raises:
            StorageError: the database cannot be read or written.
        """
        with translated(self.url), (self._writer if write else self.engine).begin() as connection:
            yield connection

    @contextmanager
    def single(self) -> Iterator[Connection]:
        """Open a bare connection for one read statement; a transaction would cost two more round trips to a server.

        Raises:
            StorageError: the database cannot be read.
        """
        with translated(self.url), self._single.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections. The database reopens at its next use."""
        self.engine.dispose()


def open_database(url: str, *, upgrade: bool = True) -> Database:
    """Open a database at this release's schema and create the tables of a new one.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://...``.
        upgrade: upgrade an older schema to this release's instead of refusing it.

    Raises:
        SchemaError: the schema is older and `upgrade` is off, the schema is newer, or another program made tables
            with our names.
        StorageError: a bad address, a missing driver, a missing folder, a file that is not a database, a database
            that is read-only or full, or a server that does not answer.
    """
    database = Database(url)
    try:
        if database.path is not None and not database.path.parent.is_dir():
            raise StorageError(f"the folder {database.path.parent} of the database does not exist: create it")
        with database.connection() as connection:
            version = schema.current(connection)
        schema.require_known(version)
        if version == schema.head():
            return database
        if version is not None and not upgrade:
            raise SchemaError(
                f"the database {database.url} has schema version {version}, this release needs "
                f"{schema.head()}: copy the database, then run `leanfront database upgrade`"
            )
        if database.is_sqlite:
            _use_wal(database)
        with database.connection(write=True) as connection:
            if not database.is_sqlite:
                # SQLite allows one writer at a time; here, the second of two processes finds the migration done.
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION)))
            schema.migrate(connection)
    except BaseException:
        database.close()
        raise
    return database


def upgrade(url: str) -> tuple[str | None, str]:
    """Upgrade a database to this release's schema, as ``leanfront database upgrade`` does.

    Returns:
        The schema version before (None for a new database) and after.

    Raises:
        SchemaError: a newer release wrote the database.
        StorageError: as `open_database`.
    """
    database = Database(url)
    try:
        before = None
        if database.path is None or database.path.exists():
            with database.connection() as connection:
                before = schema.current(connection)
    finally:
        database.close()
    open_database(url, upgrade=True).close()
    return before, schema.head()


def _address(url: str) -> URL:
    """Parse an address. Raises `StorageError`, whose message never shows a password."""
    shown = re.sub(r":[^:@/]*@", ":***@", str(url))
    try:
        address = make_url(url)
        backend = address.get_backend_name()
    except (ArgumentError, ValueError):
        raise StorageError(f"{shown!r} is no database address; write it like {FORMS}") from None
    if backend == "postgres":
        address, backend = address.set(drivername="postgresql"), "postgresql"
    if backend not in SUPPORTED:
        raise StorageError(f"databases of the kind {backend!r} are not supported; write it like {FORMS}")
    if backend == "sqlite" and (
        not address.database or ":memory:" in address.database or _has_memory(address)
    ):
        raise StorageError(f"{shown!r} lives in memory and would be lost; name a file, like {FORMS}")
    # SQLAlchemy's default driver for PostgreSQL depends on its release; we use the one of our extra.
    if address.drivername == "postgresql":
        address = address.set(drivername="postgresql+psycopg")
    return address


def _has_memory(address: URL) -> bool:
    return "memory" in address.query.get("mode", "") or "mode=memory" in (address.database or "")


def _path(address: URL) -> Path | None:
    """Return the path of the SQLite file, or None for a server or a ``file:`` URI."""
    if address.get_backend_name() != "sqlite" or not address.database or address.database.startswith("file:"):
        return None
    return Path(address.database)


def _engine(address: URL, shown: str) -> Engine:
    sqlite = address.get_backend_name() == "sqlite"
    options: dict[str, Any] = {}
    if sqlite and "timeout" not in address.query:
        options["connect_args"] = {"timeout": BUSY_SECONDS}
    if not sqlite:
        # The server may have closed an idle connection.
        options["pool_pre_ping"] = True
        # A network that drops all packets must not hold a process for longer than its lease.
        timeouts = {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": IDLE_SECONDS * 1000,
            # While waiting for an answer nothing is sent whose acknowledgement could time out; keepalives are.
            "keepalives_idle": CONNECT_SECONDS,
        }
        options["connect_args"] = {key: time for key, time in timeouts.items() if key not in address.query}
    try:
        engine = create_engine(address, json_serializer=_json, **options)
    except ModuleNotFoundError as error:
        raise StorageError(
            f"{shown} needs the Python package {error.name}: pip install 'leanfront[postgresql]'"
        ) from None
    except (NoSuchModuleError, ArgumentError, TypeError, ValueError) as error:
        raise StorageError(f"{shown} cannot be used: {error}; write it like {FORMS}") from None
    if engine.dialect.is_async:
        raise StorageError(f"{shown} names an asynchronous driver; write it like {FORMS}")
    if sqlite:
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    else:
        event.listen(engine, "connect", _on_server_connect)
    return engine


def _json(value: Any) -> str:
    # PostgreSQL and SQLite's functions refuse NaN and Infinity in JSON: refuse them before they are stored.
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UnstorableError(str(error)) from None


def _on_connect(connection: sqlite3.Connection, record: object) -> None:
    # The sqlite3 module begins a transaction at the first write. That is too late: a transaction that has already
    # read fails at once if another process has written meanwhile. `_on_begin` begins them instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")
    # In WAL mode this survives the death of the process; only a power cut may lose the last commits.
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_server_connect(connection: Any, record: object) -> None:
    connection.autocommit = True
    # Keep what the operator has set (in the URL's options, for a role, a database or the server).
    connection.execute(
        f"SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', false) "
        "WHERE current_setting('idle_in_transaction_session_timeout') = '0'"
    )
    connection.autocommit = False


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _use_wal(database: Database) -> None:
    """Switch to WAL mode, in which readers do not wait for writers. The file keeps the mode."""
    with translated(database.url):
        connection = database.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        except (sqlite3.OperationalError, DBAPIError) as error:
            # Another process is doing the same. Either may succeed, and the other mode is only slower.
            if not str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY"):
                raise
        finally:
            connection.close()
