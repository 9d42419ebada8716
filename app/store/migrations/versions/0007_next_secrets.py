"""A stack's next secrets: what a container is being started with, until it was."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # Nullable and beside the old ones: an older portal goes on reading those, and knows nothing of these.
    op.add_column("stack", sa.Column("next_secrets", sa.LargeBinary(), nullable=True))
