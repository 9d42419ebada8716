"""The Dokploy server that a stack, and each of its resources, is on: `main`, the one there has been so far."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # With a default of the store's own: an older portal beside this one adds rows that say nothing of it.
    for table in ("stack", "resource"):
        op.add_column(table, sa.Column("server_id", sa.String(40), nullable=False, server_default="main"))
