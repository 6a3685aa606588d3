"""The schema's versions: which one a database has, which one this release has, and the way up."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from leanfront.core.storage.tables import Base
from leanfront.errors import SchemaError

SCRIPTS = Path(__file__).resolve().parent / "migrations"
"""The migrations: beside this file, wherever the package is installed."""

VERSION_TABLE = "leanfront_version"
"""Ours alone: alembic's usual name is taken by Optuna where both share a database."""

# Alembic keeps the running migration's context in module globals.
_MIGRATING = threading.Lock()


def configuration() -> Config:
    """Alembic's configuration."""
    config = Config()
    # Percent signs of a path are interpolation marks to alembic.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def versions() -> tuple[str, ...]:
    """All schema versions this release knows, oldest first."""
    script = ScriptDirectory.from_config(configuration())
    return tuple(reversed([revision.revision for revision in script.walk_revisions()]))


def head() -> str:
    """The schema version of this release."""
    return versions()[-1]


def current(connection: Connection) -> str | None:
    """The schema version of a database; None where there is none yet.

    Raises:
        SchemaError: there are tables of our names but no version.
    """
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    version = context.get_current_revision()
    if version is None:
        clash = sorted(set(inspect(connection).get_table_names()) & set(Base.metadata.tables))
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
        config = configuration()
        config.attributes["connection"] = connection
        with _MIGRATING:
            command.upgrade(config, "head")
    return before, newest


def is_ours(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
    """Whether a table, index or constraint is ours: alembic must not see those of other programs."""
    table = name if kind == "table" else getattr(getattr(item, "table", None), "name", None)
    return table in Base.metadata.tables
