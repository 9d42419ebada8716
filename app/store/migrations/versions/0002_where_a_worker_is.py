"""Where a worker is: the host and the process, so that a check on that host can find its lease."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    # Nullable: an older portal beside this one goes on writing rows without them.
    op.add_column("worker", sa.Column("host", sa.String(length=255), nullable=True))
    op.add_column("worker", sa.Column("pid", sa.Integer(), nullable=True))
