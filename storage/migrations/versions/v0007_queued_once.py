"""Allow at most one queued or running job among equal ones."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = "leanfront_jobs"
INDEX = "ix_leanfront_jobs_digest"


def upgrade() -> None:
    """Add the digest of jobs; of equal jobs that are already queued both are done, and new requests get the older."""
    op.add_column(TABLE, sa.Column("digest", sa.String(64), nullable=True))
    pending = sa.text("state IN ('queued', 'running') AND NOT cancelling")
    jobs = sa.table(
        TABLE,
        *map(sa.column, ("id", "kind", "search_id", "candidate_id", "digest")),
        sa.column("parameters", sa.JSON),
    )
    wanted = sa.select(jobs).where(pending, jobs.c.kind != "search").order_by(jobs.c.id)
    found: dict[str, int] = {}
    for row in op.get_bind().execute(wanted).all():
        told = [row.kind, row.search_id, row.candidate_id, row.parameters]
        text = json.dumps(told, allow_nan=False, sort_keys=True)
        found.setdefault(hashlib.sha256(text.encode()).hexdigest(), row.id)
    for digest, identifier in found.items():
        op.execute(jobs.update().where(jobs.c.id == identifier).values(digest=digest))
    op.create_index(
        op.f(INDEX), TABLE, ["digest"], unique=True, sqlite_where=pending, postgresql_where=pending
    )


def downgrade() -> None:
    """Drop the digest; older releases look for equal jobs themselves."""
    op.drop_index(op.f(INDEX), TABLE)
    op.drop_column(TABLE, "digest")
