"""Add frontiers before and after recovery, and whether a file was made again."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = "leanfront_frontier"
OLD, NEW = "ix_leanfront_frontier_search_id_strict", "ix_leanfront_frontier_search_id_strict_before"
FILES = "leanfront_candidate_artifacts"
RECOVERED = "ix_leanfront_candidates_search_id_parent"


def upgrade() -> None:
    """Split the frontier's mark; older releases stored no recovered candidates, so both frontiers are equal."""
    op.drop_index(op.f(OLD), TABLE)
    sqlite = op.get_bind().dialect.name == "sqlite"
    # SQLite copies the table for this, and reads rows from their start: so the columns precede the long one.
    place: Any = {"insert_before": "strict"} if sqlite else {}
    with op.batch_alter_table(TABLE, recreate="always" if sqlite else "never") as table:
        table.add_column(sa.Column("strict_before", sa.Boolean(), nullable=True), **place)
        table.alter_column(
            "strict", new_column_name="strict_after", existing_type=sa.Boolean(), nullable=True
        )
    rows = sa.table(TABLE, sa.column("strict_before"), sa.column("strict_after"))
    op.execute(rows.update().values(strict_before=rows.c.strict_after))
    op.create_index(op.f(NEW), TABLE, ["search_id", "strict_before"])
    some = sa.text("parent IS NOT NULL")
    columns = ["search_id", "parent"]
    op.create_index(
        op.f(RECOVERED), "leanfront_candidates", columns, sqlite_where=some, postgresql_where=some
    )
    op.add_column(FILES, sa.Column("remade", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Keep only the frontier of all candidates."""
    with op.batch_alter_table(FILES) as table:
        table.drop_column("remade")
    op.drop_index(op.f(RECOVERED), "leanfront_candidates")
    op.drop_index(op.f(NEW), TABLE)
    rows = sa.table(TABLE, sa.column("strict_after", sa.Boolean), sa.column("correct"))
    op.execute(rows.delete().where(rows.c.strict_after.is_(None)))
    op.execute(rows.update().where(~rows.c.strict_after).values(correct=None))
    with op.batch_alter_table(TABLE) as table:
        table.drop_column("strict_before")
        table.alter_column(
            "strict_after", new_column_name="strict", existing_type=sa.Boolean(), nullable=False
        )
    op.create_index(op.f(OLD), TABLE, ["search_id", "strict"])
