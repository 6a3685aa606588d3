"""Add candidates' files and the results of verifications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def _candidate(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["candidate_id"],
        ["leanfront_candidates.id"],
        name=op.f(f"fk_leanfront_{table}_candidate_id"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    """Add the tables, empty: older releases kept no files of candidates."""
    op.create_table(
        "leanfront_candidate_artifacts",
        sa.Column("candidate_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("format", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _candidate("candidate_artifacts"),
        sa.ForeignKeyConstraint(
            ["digest"], ["leanfront_artifacts.digest"], name=op.f("fk_leanfront_candidate_artifacts_digest")
        ),
        sa.PrimaryKeyConstraint("candidate_id", "format", name=op.f("pk_leanfront_candidate_artifacts")),
    )
    op.create_index(
        op.f("ix_leanfront_candidate_artifacts_digest"), "leanfront_candidate_artifacts", ["digest"]
    )
    op.create_table(
        "leanfront_verifications",
        sa.Column("candidate_id", NUMBER, autoincrement=False, nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("claims", sa.JSON(), nullable=False),
        sa.Column("unchecked", sa.JSON(), nullable=False),
        sa.Column("release", sa.String(50), nullable=False),
        sa.Column("created", TIME, nullable=False),
        _candidate("verifications"),
        sa.PrimaryKeyConstraint("candidate_id", name=op.f("pk_leanfront_verifications")),
    )


def downgrade() -> None:
    """Drop the tables; files in the artifact folder stay, without a record."""
    op.drop_table("leanfront_verifications")
    op.drop_table("leanfront_candidate_artifacts")
