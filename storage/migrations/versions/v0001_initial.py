"""The initial schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Not taken from `leanfront.core.storage.tables`, which keeps changing; this version does not.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables in an empty database."""
    op.create_table(
        "leanfront_searches",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("objectives", sa.JSON(), nullable=False),
        sa.Column("reference", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("dense", sa.JSON(), nullable=False),
        sa.Column("coverage", sa.JSON(), nullable=False),
        sa.Column("artifact", sa.String(64), nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("trials", sa.Integer(), nullable=False),
        sa.Column("frontier_size", sa.Integer(), nullable=False),
        sa.Column("hypervolume", sa.Double(), nullable=False),
        sa.Column("hypervolume_log2", sa.Double(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leanfront_searches"),
        sa.UniqueConstraint("name", name="uq_leanfront_searches_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "leanfront_candidates",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("search_id", NUMBER, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("configuration_digest", sa.String(64), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("kept", sa.JSON(), nullable=False),
        sa.Column("objective_values", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("parent", NUMBER, nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leanfront_candidates"),
        sa.UniqueConstraint(
            "search_id", "configuration_digest", name="uq_leanfront_candidates_search_id_configuration_digest"
        ),
        sa.ForeignKeyConstraint(
            ["search_id"],
            ["leanfront_searches.id"],
            name="fk_leanfront_candidates_search_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent"],
            ["leanfront_candidates.id"],
            name="fk_leanfront_candidates_parent",
            ondelete="SET NULL",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_leanfront_candidates_search_id_id", "leanfront_candidates", ["search_id", "id"])
    op.create_index("ix_leanfront_candidates_parent", "leanfront_candidates", ["parent"])
    op.create_table(
        "leanfront_measurements",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("candidate_id", NUMBER, nullable=False),
        sa.Column("search_id", NUMBER, nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("split", sa.String(16), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=True),
        sa.Column("unit", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leanfront_measurements"),
        sa.UniqueConstraint(
            "candidate_id", "name", "split", name="uq_leanfront_measurements_candidate_id_name_split"
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["leanfront_candidates.id"],
            name="fk_leanfront_measurements_candidate_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["search_id"],
            ["leanfront_searches.id"],
            name="fk_leanfront_measurements_search_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "ix_leanfront_measurements_search_id_name_split_value",
        "leanfront_measurements",
        ["search_id", "name", "split", "value"],
    )
    op.create_table(
        "leanfront_trials",
        sa.Column("search_id", NUMBER, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("candidate_id", NUMBER, nullable=False),
        sa.Column("duplicate", sa.Boolean(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("search_id", "number", name="pk_leanfront_trials"),
        sa.ForeignKeyConstraint(
            ["search_id"], ["leanfront_searches.id"], name="fk_leanfront_trials_search_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["leanfront_candidates.id"],
            name="fk_leanfront_trials_candidate_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_leanfront_trials_candidate_id", "leanfront_trials", ["candidate_id"])
    op.create_table(
        "leanfront_frontier",
        sa.Column("candidate_id", NUMBER, nullable=False, autoincrement=False),
        sa.Column("search_id", NUMBER, nullable=False),
        sa.Column("v0", sa.Double(), nullable=False),
        sa.Column("v1", sa.Double(), nullable=False),
        *(sa.Column(f"v{axis}", sa.Double(), nullable=True) for axis in range(2, 6)),
        sa.Column("strict", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("candidate_id", name="pk_leanfront_frontier"),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["leanfront_candidates.id"],
            name="fk_leanfront_frontier_candidate_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["search_id"],
            ["leanfront_searches.id"],
            name="fk_leanfront_frontier_search_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_leanfront_frontier_search_id_v0_v1", "leanfront_frontier", ["search_id", "v0", "v1"])
    op.create_index("ix_leanfront_frontier_search_id_strict", "leanfront_frontier", ["search_id", "strict"])
    op.create_table(
        "leanfront_artifacts",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(100), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_leanfront_artifacts"),
    )


def downgrade() -> None:
    """Drop all tables."""
    for table in ("artifacts", "frontier", "trials", "measurements", "candidates", "searches"):
        op.drop_table(f"leanfront_{table}")
