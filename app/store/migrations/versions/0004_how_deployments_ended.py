"""How deployments ended lately is counted from an index."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_deployment_ended", "deployment", ["kind", "concluded_at", "conclusion"], unique=False)
