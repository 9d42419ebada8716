"""Every list is read a page at a time, in the order of an index."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

# Begin with the same columns as an index below, so that nothing is found by them that is not found by that.
REPLACED = (
    ("ix_deployment_stack_id", "deployment"),
    ("ix_leftover_open", "leftover"),
    ("ix_token_owner", "token"),
    ("ix_audit_at", "audit"),
    ("ix_audit_stack", "audit"),
    ("ix_audit_actor", "audit"),
)
INDEXES = (
    ("ix_stack_held_owner", "stack", ["owner", "created_at", "id"], "removed_at IS NULL"),
    ("ix_stack_held", "stack", ["created_at", "id"], "removed_at IS NULL"),
    ("ix_stack_gone_owner", "stack", ["owner", "removed_at", "id"], "removed_at IS NOT NULL"),
    ("ix_stack_gone_name", "stack", ["name", "removed_at"], "removed_at IS NOT NULL"),
    ("ix_deployment_of_stack", "deployment", ["stack_id", "created_at", "id"], None),
    ("ix_resource_kept", "resource", ["changed_at", "stack_id"], "state = 'kept'"),
    ("ix_leftover_due", "leftover", ["attempts", "tried_at"], "removed_at IS NULL"),
    ("ix_leftover_left", "leftover", ["left_at", "stack_id", "kind"], "removed_at IS NULL"),
    ("ix_leftover_all", "leftover", ["left_at", "stack_id", "kind"], None),
    ("ix_token_owner", "token", ["owner", "created_at", "id"], None),
    ("ix_token_all", "token", ["created_at", "id"], None),
    ("ix_audit_all", "audit", ["at", "id"], None),
    ("ix_audit_of_stack", "audit", ["stack", "at", "id"], None),
    ("ix_audit_of_actor", "audit", ["actor", "at", "id"], None),
    ("ix_audit_of_email", "audit", ["email", "at", "id"], None),
)


def upgrade() -> None:
    for name, table in REPLACED:
        op.drop_index(name, table)
    for name, table, columns, where in INDEXES:
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, unique=False, postgresql_where=condition, sqlite_where=condition)
