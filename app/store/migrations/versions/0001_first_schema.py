"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("singleton", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("singleton", name=("pk_installation")),
    )
    op.create_table(
        "stack",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=30), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("template", sa.String(length=60), nullable=False),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("manage_key_hash", sa.String(length=64), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=("pk_stack")),
    )
    op.create_index("ix_stack_owner", "stack", ["owner"], unique=False)
    op.create_index(
        "uq_stack_name_held",
        "stack",
        ["name"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
        sqlite_where=sa.text("removed_at IS NULL"),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_worker")),
    )
    op.create_table(
        "deployment",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("stack_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=30), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("trigger", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("options", JSON, nullable=False),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("concluded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("undoing", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("conclusion", sa.String(length=20), nullable=True),
        sa.Column("problem", JSON, nullable=True),
        sa.Column("leftovers", JSON, nullable=False),
        sa.Column("last_event", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=26), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["stack_id"], ["stack.id"], name=("fk_deployment_stack_id_stack")),
        sa.PrimaryKeyConstraint("id", name=("pk_deployment")),
    )
    op.create_index(
        "ix_deployment_open",
        "deployment",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status <> 'completed'"),
        sqlite_where=sa.text("status <> 'completed'"),
    )
    op.create_index("ix_deployment_stack_id", "deployment", ["stack_id"], unique=False)
    op.create_index(
        "uq_deployment_stack_open",
        "deployment",
        ["stack_id"],
        unique=True,
        postgresql_where=sa.text("status <> 'completed'"),
        sqlite_where=sa.text("status <> 'completed'"),
    )
    op.create_table(
        "resource",
        sa.Column("stack_id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("dokploy_id", sa.String(length=60), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["stack_id"], ["stack.id"], name=("fk_resource_stack_id_stack")),
        sa.PrimaryKeyConstraint("stack_id", "kind", name=("pk_resource")),
    )
    op.create_index("ix_resource_kind_name", "resource", ["kind", "name"], unique=False)
    op.create_table(
        "event",
        sa.Column("deployment_id", sa.String(length=26), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("params", JSON, nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("undoing", sa.Boolean(), nullable=False),
        sa.Column("conclusion", sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"], name=("fk_event_deployment_id_deployment")),
        sa.PrimaryKeyConstraint("deployment_id", "n", name=("pk_event")),
    )
    op.create_table(
        "idempotency",
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("deployment_id", sa.String(length=26), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"], name=("fk_idempotency_deployment_id_deployment")),
        sa.PrimaryKeyConstraint("key_hash", name=("pk_idempotency")),
    )
    op.create_table(
        "step",
        sa.Column("deployment_id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("concluded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("output", JSON, nullable=False),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployment.id"], name=("fk_step_deployment_id_deployment")),
        sa.PrimaryKeyConstraint("deployment_id", "name", name=("pk_step")),
    )
