"""Alembic's entry point for migrations; `leanfront.core.storage.schema` passes the connection."""

from __future__ import annotations

from alembic import context

from leanfront.core.storage.schema import VERSION_TABLE, is_ours
from leanfront.core.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    include_object=is_ours,
    # SQLite cannot alter most things in place; alembic copies the table instead.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
