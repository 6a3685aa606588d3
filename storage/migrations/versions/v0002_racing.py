"""Frontier members keep which validation samples they get right, for candidates to race against."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Members stored before have none: nobody races against them."""
    op.add_column("leanfront_frontier", sa.Column("correct", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Stopped candidates stay: the release before reads them as neither complete nor on the frontier."""
    with op.batch_alter_table("leanfront_frontier") as table:
        table.drop_column("correct")
