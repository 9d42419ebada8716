"""What could not be removed gets a table of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "leftover",
        sa.Column("stack_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("deployment_id", sa.String(length=26), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["stack_id"], ["stack.id"], name=("fk_leftover_stack_id_stack")),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"], name=("fk_leftover_deployment_id_deployment")),
        sa.PrimaryKeyConstraint("stack_id", "kind", name=("pk_leftover")),
    )
    op.create_index(
        "ix_leftover_open",
        "leftover",
        ["tried_at"],
        unique=False,
        postgresql_where=sa.text("removed_at IS NULL"),
        sqlite_where=sa.text("removed_at IS NULL"),
    )
