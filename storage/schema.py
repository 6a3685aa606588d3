"""The schema's versions: which one a database has, which one this release has, and the way up.

Alembic is imported where there is something to migrate: to open a database that needs nothing takes a third longer
with it.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, column, inspect, select, table
from sqlalchemy.exc import SQLAlchemyError

from leanfront.core.storage.tables import Base
from leanfront.errors import SchemaError

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).resolve().parent / "migrations"
"""The migrations: beside this file, wherever the package is installed."""

VERSION_TABLE = "leanfront_version"
"""Ours alone: alembic's usual name is taken by Optuna where both share a database."""

# Alembic keeps the running migration's context in module globals.
_MIGRATING = threading.Lock()


def configuration() -> Config:
    """Alembic's configuration."""
    from alembic.config import Config

    config = Config()
    # Percent signs of a path are interpolation marks to alembic.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def versions() -> tuple[str, ...]:
    """All schema versions this release knows, oldest first: the migrations' files are named after them."""
    return tuple(sorted(file.name[1:5] for file in (SCRIPTS / "versions").glob("v[0-9]*.py")))


def head() -> str:
    """The schema version of this release."""
    return versions()[-1]


def current(connection: Connection) -> str | None:
    """The schema version of a database; None where there is none yet.

    Raises:
        SchemaError: there are tables of our names but no version.
    """
    inspector = inspect(connection)
    version: str | None = None
    if inspector.has_table(VERSION_TABLE):
        version = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    if version is None:
        clash = sorted(set(inspector.get_table_names()) & set(Base.metadata.tables))
        if clash:
            raise SchemaError(
                f"the database has tables {', '.join(clash)} but no schema version in {VERSION_TABLE}: "
                "another program made them, or the version was lost: name another database, or take a copy"
            )
    return version


def require_known(version: str | None) -> None:
    """Refuse a database that a newer release has written.

    Raises:
        SchemaError: the version is not one of ours.
    """
    known = versions()
    if version is not None and version not in known:
        raise SchemaError(
            f"the database has schema version {version}, which this release does not know (it knows up to "
            f"{known[-1]}): a newer release wrote it; update leanfront, or name another database"
        )


def migrate(connection: Connection) -> tuple[str | None, str]:
    """Bring a database to `head`, within the connection's transaction.

    Args:
        connection: in a write transaction, so that of two processes one migrates and the other finds it done.

    Returns:
        The version before and after.

    Raises:
        SchemaError: a newer release wrote the database, or tables of our names are another program's.
    """
    before = current(connection)
    require_known(before)
    newest = head()
    if before != newest:
        from alembic import command
        from alembic.util import CommandError

        config = configuration()
        config.attributes["connection"] = connection
        try:
            with _MIGRATING:
                command.upgrade(config, "head")
        except CommandError as error:
            # Of a kind that whoever opens databases knows.
            raise SQLAlchemyError(str(error)) from error
    return before, newest


def is_ours(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    """Whether a table, index or constraint is ours: alembic must not see those of other programs."""
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", None)
    return table in Base.metadata.tables
