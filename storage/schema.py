"""Schema versions of a database, and migration to this release's.

Alembic is imported only to migrate: importing it makes opening an up-to-date database take a third longer.
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
"""Folder of the migrations, beside this file wherever the package is installed."""

VERSION_TABLE = "leanfront_version"
"""Table of the schema version. Not alembic's default name, which Optuna uses in a shared database."""

# Alembic keeps the context of the running migration in module globals.
_MIGRATING = threading.Lock()


def configuration() -> Config:
    """Return alembic's configuration."""
    from alembic.config import Config

    config = Config()
    # Alembic interpolates percent signs.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def versions() -> tuple[str, ...]:
    """Return all schema versions this release knows, oldest first, from the names of the migration files."""
    return tuple(sorted(file.name[1:5] for file in (SCRIPTS / "versions").glob("v[0-9]*.py")))


def head() -> str:
    """Return the schema version of this release."""
    return versions()[-1]


def current(connection: Connection) -> str | None:
    """Return the schema version of a database; None if it has none yet.

    Raises:
        SchemaError: there are tables with our names but no version.
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
    """Refuse a database written by a newer release.

    Raises:
        SchemaError: the version is unknown to this release.
    """
    known = versions()
    if version is not None and version not in known:
        raise SchemaError(
            f"the database has schema version {version}, which this release does not know (it knows up to "
            f"{known[-1]}): a newer release wrote it; update leanfront, or name another database"
        )


def migrate(connection: Connection) -> tuple[str | None, str]:
    """Migrate a database to `head` within the connection's transaction.

    Args:
        connection: connection in a write transaction, so that of two processes one migrates and the other waits.

    Returns:
        The schema version before and after.

    Raises:
        SchemaError: a newer release wrote the database, or another program made tables with our names.
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
            # Callers that open databases handle this type.
            raise SQLAlchemyError(str(error)) from error
    return before, newest


def is_ours(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    """Whether a table, index or constraint is ours: alembic must not see those of other programs."""
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", None)
    return table in Base.metadata.tables
