"""With which SECRET_KEY a store is written can be seen."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("installation", sa.Column("seal", sa.LargeBinary(), nullable=True))
