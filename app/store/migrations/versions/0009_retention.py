"""Old rows can be deleted: indexes to find them by, and an audit trail that lets go of what its retention says."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

MOMENT = sa.DateTime(timezone=True)

# What deleting looks for, and what the database itself looks for in tables that refer to a deleted row.
INDEXES = (
    ("ix_idempotency_created_at", "idempotency", ["created_at"], None),
    ("ix_idempotency_deployment_id", "idempotency", ["deployment_id"], None),
    ("ix_leftover_deployment_id", "leftover", ["deployment_id"], None),
    ("ix_offer_expires_at", "offer", ["expires_at"], None),
    ("ix_token_expires_at", "token", ["expires_at"], None),
    ("ix_token_revoked_at", "token", ["revoked_at"], None),
    ("ix_account_seen_at", "account", ["seen_at"], None),
    ("ix_stack_removed_at", "stack", ["removed_at", "id"], "removed_at IS NOT NULL"),
    ("ix_stack_unerased", "stack", ["id"], "removed_at IS NOT NULL AND length(secrets) > 0"),
    ("ix_deployment_log_kept", "deployment", ["concluded_at"], "log_expired_at IS NULL"),
)

# What is there was kept forever until now: its operator has a day to choose how long to keep it.
DAY_OF_GRACE = {
    "sqlite": """
UPDATE retention SET swept_at = (julianday('now') - 2440587.5) * 86400.0 + 86400
WHERE EXISTS (SELECT 1 FROM stack) OR EXISTS (SELECT 1 FROM audit)
""",
    "postgresql": """
UPDATE retention SET swept_at = extract(epoch from clock_timestamp()) + 86400
WHERE EXISTS (SELECT 1 FROM stack) OR EXISTS (SELECT 1 FROM audit)
""",
}

# On SQLite moments are text, with six digits behind the second; a clock that shows three is a second behind.
SQLITE = """
DROP TRIGGER IF EXISTS audit_no_delete;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
WHEN OLD.at >= COALESCE((SELECT before FROM retention WHERE what = 'audit'), '')
BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;

-- REPLACE deletes, and runs no trigger of DELETE.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id OR rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;

CREATE TRIGGER retention_keeps_a_day BEFORE INSERT ON retention
WHEN NEW.before > strftime('%Y-%m-%d %H:%M:%f', 'now', '-86399 seconds')
BEGIN SELECT RAISE(ABORT, 'the audit trail keeps its last day'); END;

CREATE TRIGGER retention_keeps_a_day_on BEFORE UPDATE ON retention
WHEN NEW.before > strftime('%Y-%m-%d %H:%M:%f', 'now', '-86399 seconds')
BEGIN SELECT RAISE(ABORT, 'the audit trail keeps its last day'); END;
"""

POSTGRESQL = """
DROP TRIGGER IF EXISTS audit_only_added_to ON audit;

CREATE TRIGGER audit_only_added_to BEFORE UPDATE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_only_added_to();

CREATE FUNCTION audit_delete_old() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF OLD.at < (SELECT before FROM retention WHERE what = 'audit') THEN RETURN OLD; END IF;
  RAISE EXCEPTION 'the audit trail is only added to';
END $$;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
FOR EACH ROW EXECUTE FUNCTION audit_delete_old();

CREATE FUNCTION retention_keeps_a_day() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.before > clock_timestamp() - interval '86399 seconds' THEN
    RAISE EXCEPTION 'the audit trail keeps its last day';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER retention_keeps_a_day BEFORE INSERT OR UPDATE ON retention
FOR EACH ROW EXECUTE FUNCTION retention_keeps_a_day();
"""


def upgrade() -> None:
    op.add_column("deployment", sa.Column("log_expired_at", MOMENT, nullable=True))
    op.create_table(
        "retention",
        sa.Column("what", sa.String(length=20), nullable=False),
        sa.Column("before", MOMENT, nullable=True),
        sa.Column("swept_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("what", name=("pk_retention")),
    )
    op.execute("INSERT INTO retention (what, swept_at) VALUES ('sweep', 0), ('audit', 0)")
    op.get_bind().exec_driver_sql(DAY_OF_GRACE[op.get_bind().dialect.name])
    for name, table, columns, where in INDEXES:
        condition = None if where is None else sa.text(where)
        op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
    statements = SQLITE if op.get_bind().dialect.name == "sqlite" else POSTGRESQL
    for statement in statements.strip().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)
