"""Store which validation samples frontier members classify correctly, for candidates to race against."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; existing members have no correctness, so nobody races against them."""
    op.add_column("leanfront_frontier", sa.Column("correct", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Drop the column; stopped candidates stay and are neither complete nor on the frontier for older releases."""
    with op.batch_alter_table("leanfront_frontier") as table:
        table.drop_column("correct")
