"""The tables: what the portal remembers, and which process may write it."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    false,
    text,
)

from app.database import Json, Moment, metadata

ID = String(26)  # a ULID

# One row: which portal this is. The id is part of every marker in Dokploy.
installation = Table(
    "installation",
    metadata,
    Column("singleton", Integer, primary_key=True),
    Column("id", ID, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seal", LargeBinary),  # encrypted: shows whether a process has the SECRET_KEY of the others
)

# One row a process that runs deployments: its lease, renewed by the database's clock.
worker = Table(
    "worker",
    metadata,
    Column("id", ID, primary_key=True),
    Column("started_at", Moment, nullable=False),
    Column("expires_at", Float, nullable=False),
    # Where it is, for a check on that host; a portal that knows no check leaves them out.
    Column("host", String(255)),
    Column("pid", Integer),
)

stack = Table(
    "stack",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", String(30), nullable=False),
    Column("owner", String(80), nullable=False),
    Column("template", String(60), nullable=False),
    Column("plan", Json, nullable=False),
    Column("manage_key_hash", String(64), nullable=False),
    Column("secrets", LargeBinary, nullable=False),  # encrypted: password and variables
    # As `secrets`, while a change of the password is not finished: what the next container is started with. Not a field
    # of theirs, which an older portal beside this one could not read.
    Column("next_secrets", LargeBinary),
    Column("created_at", Moment, nullable=False),
    Column("removed_at", Moment),  # set once nothing of it is left: the name is free again
    # Holds the name from the request until its run, undoing included, is over and nothing is left.
    Index(
        "uq_stack_name_held",
        "name",
        unique=True,
        postgresql_where=text("removed_at IS NULL"),
        sqlite_where=text("removed_at IS NULL"),
    ),
    Index("ix_stack_owner", "owner"),
    Index("ix_stack_manage_key_hash", "manage_key_hash"),
)

deployment = Table(
    "deployment",
    metadata,
    Column("id", ID, primary_key=True),
    Column("stack_id", ID, ForeignKey("stack.id"), nullable=False),
    Column("name", String(30), nullable=False),
    Column("kind", String(20), nullable=False),
    Column("trigger", String(20), nullable=False),
    Column("actor", String(80), nullable=False),
    # None where a portal took it in that did not write them down.
    Column("actor_email", String(320)),
    Column("actor_role", String(20)),
    Column("actor_means", String(20)),
    Column("options", Json, nullable=False),
    Column("plan", Json, nullable=False),  # frozen: what was really asked of Dokploy, without secrets
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("concluded_at", Moment),
    Column("cancel_requested_at", Moment),
    # The head of the run; written by whoever holds it.
    Column("status", String(20), nullable=False),
    Column("undoing", Boolean, nullable=False, server_default=false()),
    Column("conclusion", String(20)),
    Column("problem", Json),  # code, params and step of what went wrong
    Column("leftovers", Json, nullable=False),
    Column("last_event", Integer, nullable=False),
    # Fencing: a process writes only where both are still its own.
    Column("owner", ID),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Index("ix_deployment_stack_id", "stack_id"),
    # How those of a kind ended lately, without a look at the rows.
    Index("ix_deployment_ended", "kind", "concluded_at", "conclusion"),
    Index(
        "ix_deployment_open",
        "created_at",
        postgresql_where=text("status <> 'completed'"),
        sqlite_where=text("status <> 'completed'"),
    ),
    # One run at a time changes a stack.
    Index(
        "uq_deployment_stack_open",
        "stack_id",
        unique=True,
        postgresql_where=text("status <> 'completed'"),
        sqlite_where=text("status <> 'completed'"),
    ),
)

step = Table(
    "step",
    metadata,
    Column("deployment_id", ID, ForeignKey("deployment.id"), primary_key=True),
    Column("name", String(20), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", Moment),
    Column("concluded_at", Moment),
    Column("output", Json, nullable=False),  # what later steps need: ids of Dokploy's
)

event = Table(
    "event",
    metadata,
    Column("deployment_id", ID, ForeignKey("deployment.id"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("type", String(40), nullable=False),
    Column("key", String(80), nullable=False),
    Column("params", Json, nullable=False),
    Column("status", String(20), nullable=False),
    Column("undoing", Boolean, nullable=False),
    Column("conclusion", String(20)),
)

# What the portal made, or is about to make, in Dokploy: written down before each create is tried.
resource = Table(
    "resource",
    metadata,
    Column("stack_id", ID, ForeignKey("stack.id"), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("name", String(300), nullable=False),
    Column("state", String(20), nullable=False),
    Column("dokploy_id", String(60)),
    Column("attempts", Integer, nullable=False),
    Column("intended_at", Moment),
    Column("changed_at", Moment, nullable=False),
    Index("ix_resource_kind_name", "kind", "name"),
)

# What could not be removed; removed_at is set once it is.
leftover = Table(
    "leftover",
    metadata,
    Column("stack_id", ID, ForeignKey("stack.id"), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("name", String(300), nullable=False),
    Column("code", String(60), nullable=False),
    Column("deployment_id", ID, ForeignKey("deployment.id"), nullable=False),  # the run that left it
    Column("attempts", Integer, nullable=False),
    Column("left_at", Moment, nullable=False),
    Column("tried_at", Moment, nullable=False),
    Column("removed_at", Moment),
    Index(
        "ix_leftover_open",
        "tried_at",
        postgresql_where=text("removed_at IS NULL"),
        sqlite_where=text("removed_at IS NULL"),
    ),
)

# A code with which somebody may take a stack over, once; the code itself is shown to the owner only.
offer = Table(
    "offer",
    metadata,
    Column("stack_id", ID, ForeignKey("stack.id"), primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("uq_offer_hash", "hash", unique=True),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("deployment_id", ID, ForeignKey("deployment.id"), nullable=False),
    Column("answer", LargeBinary, nullable=False),  # encrypted: it holds the manage key
    Column("created_at", Moment, nullable=False),
)
