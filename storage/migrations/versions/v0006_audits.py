"""Add the results of audits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = "leanfront_audits"
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table, empty: older releases made no audits."""
    op.create_table(
        TABLE,
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("search_id", NUMBER, nullable=False),
        sa.Column("candidate_id", NUMBER, nullable=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("release", sa.String(50), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leanfront_audits")),
        sa.ForeignKeyConstraint(
            ["search_id"],
            ["leanfront_searches.id"],
            name=op.f("fk_leanfront_audits_search_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["leanfront_candidates.id"],
            name=op.f("fk_leanfront_audits_candidate_id"),
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_leanfront_audits_search_id_kind"), TABLE, ["search_id", "kind"])
    op.create_index(op.f("ix_leanfront_audits_candidate_id"), TABLE, ["candidate_id"])


def downgrade() -> None:
    """Drop the table; audits can be made again."""
    op.drop_table(TABLE)
