"""Add jobs with leases, runners, the frontier's version, and the order in which trials were stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables and columns; existing trials count as stored in the order of their numbers."""
    # The default stays: to remove it, SQLite would drop the table and all rows that refer to it.
    for name in ("frontier_version", "measured_version"):
        column = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column("leanfront_searches", column)
    op.add_column("leanfront_trials", sa.Column("sequence", sa.Integer(), nullable=True))
    op.add_column("leanfront_trials", sa.Column("entered", sa.Boolean(), nullable=True))
    _number_trials()
    with op.batch_alter_table("leanfront_trials") as table:
        table.alter_column("sequence", existing_type=sa.Integer(), nullable=False)
        table.alter_column("entered", existing_type=sa.Boolean(), nullable=False)
        table.create_unique_constraint(
            op.f("uq_leanfront_trials_search_id_sequence"), ["search_id", "sequence"]
        )
    op.create_table(
        "leanfront_jobs",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("search_id", NUMBER, nullable=False),
        sa.Column("candidate_id", NUMBER, nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("local", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("cancelling", sa.Boolean(), nullable=False),
        sa.Column("runner", sa.String(200), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("created", TIME, nullable=False),
        sa.Column("ended", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["search_id"],
            ["leanfront_searches.id"],
            name=op.f("fk_leanfront_jobs_search_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["leanfront_candidates.id"],
            name=op.f("fk_leanfront_jobs_candidate_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leanfront_jobs")),
        sqlite_autoincrement=True,
    )
    for columns in (["state", "lease_until"], ["search_id", "kind"], ["candidate_id"]):
        op.create_index(op.f(f"ix_leanfront_jobs_{'_'.join(columns)}"), "leanfront_jobs", columns)
    op.create_table(
        "leanfront_runners",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.String(50), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("started", TIME, nullable=False),
        sa.Column("seen", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leanfront_runners")),
    )
    _add_jobs()


def _add_jobs() -> None:
    """Add a job to every search; jobs of existing searches are local, so no worker takes them."""
    searches = sa.table("leanfront_searches", *map(sa.column, ("id", "state", "message", "created")))
    jobs = sa.table(
        "leanfront_jobs",
        *map(
            sa.column,
            ("kind", "search_id", "parameters", "local", "state", "message", "cancelling", "token"),
        ),
        *map(sa.column, ("attempts", "mark", "created")),
    )
    false, true, zero = sa.literal(False, sa.Boolean), sa.literal(True, sa.Boolean), sa.literal(0)
    rows = sa.select(
        sa.literal("search"),
        searches.c.id,
        sa.literal({}, sa.JSON),
        true,
        searches.c.state,
        searches.c.message,
        false,
        zero,
        zero,
        zero,
        searches.c.created,
    )
    op.execute(jobs.insert().from_select(list(jobs.c), rows))


def _number_trials() -> None:
    trials = sa.table(
        "leanfront_trials",
        sa.column("search_id"),
        sa.column("number"),
        sa.column("candidate_id"),
        sa.column("duplicate", sa.Boolean),
        sa.column("sequence"),
        sa.column("entered", sa.Boolean),
    )
    members = sa.table("leanfront_frontier", sa.column("candidate_id"), sa.column("strict", sa.Boolean))
    order = sa.func.row_number().over(partition_by=trials.c.search_id, order_by=trials.c.number)
    ranked = sa.select(trials.c.search_id, trials.c.number, order.label("rank")).subquery()
    # Whether a trial's candidate was ever on the frontier is unknown; whether it is on it now is known.
    on_front = sa.exists().where(members.c.candidate_id == trials.c.candidate_id, members.c.strict)
    op.execute(
        trials.update()
        .where(trials.c.search_id == ranked.c.search_id, trials.c.number == ranked.c.number)
        .values(sequence=ranked.c.rank, entered=sa.and_(~trials.c.duplicate, on_front))
    )


def downgrade() -> None:
    """Drop jobs and runners; searches that were queued or running can be resumed by name."""
    op.drop_table("leanfront_runners")
    op.drop_table("leanfront_jobs")
    with op.batch_alter_table("leanfront_trials") as table:
        table.drop_constraint(op.f("uq_leanfront_trials_search_id_sequence"), type_="unique")
        table.drop_column("entered")
        table.drop_column("sequence")
    # Not in a batch, for the same reason; SQLite can drop a column that nothing refers to.
    op.drop_column("leanfront_searches", "measured_version")
    op.drop_column("leanfront_searches", "frontier_version")
