"""The tables: stacks, deployments and their journal, accounts, sessions, tokens, and the audit trail."""

from typing import Any, Final

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

from app.store.dialects import Json, Moment, metadata

ID = String(26)  # a ULID

AUDIT_TEXT: Final = 80
"""What is kept of a text that came from outside, such as the name in a request that was refused."""

DEFAULT_SERVER: Final = "main"
"""The id of a portal's first Dokploy server. Not a setting: a portal would disown its stacks where that is changed."""

_SERVER_ID = String(40)

UNERASED: Final = "removed_at IS NOT NULL AND length(secrets) > 0"
"""Holds a query to removed stacks that still have secrets. Written as in its index, which it finds nothing without."""


def _where(condition: str) -> dict[str, Any]:
    """Hold an index to some rows, on both databases."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


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
    # The Dokploy server that it is on. No part of `uq_stack_name_held`: names are addresses, unique over all servers.
    Column("server_id", _SERVER_ID, nullable=False, server_default=DEFAULT_SERVER),
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
    Column("removed_at", Moment),  # set once nothing of it is left: the name is free again, and the secrets are erased
    # Holds the name from the request until its run, undoing included, is over and nothing is left.
    Index(
        "uq_stack_name_held",
        "name",
        unique=True,
        **_where("removed_at IS NULL"),
    ),
    Index("ix_stack_owner", "owner"),
    # Lists of what is there, newest first, of an owner and of all; an owner's limit is counted from the first, too.
    Index("ix_stack_held_owner", "owner", "created_at", "id", **_where("removed_at IS NULL")),
    Index("ix_stack_held", "created_at", "id", **_where("removed_at IS NULL")),
    # What is gone, the last first, and who had a name.
    Index("ix_stack_gone_owner", "owner", "removed_at", "id", **_where("removed_at IS NOT NULL")),
    Index("ix_stack_gone_name", "name", "removed_at", **_where("removed_at IS NOT NULL")),
    Index("ix_stack_manage_key_hash", "manage_key_hash"),
    Index("ix_stack_removed_at", "removed_at", "id", **_where("removed_at IS NOT NULL")),
    # What an older portal has removed without erasing its secrets; empty ever after.
    Index("ix_stack_unerased", "id", **_where(UNERASED)),
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
    Column("log_expired_at", Moment),  # when all its events but the last were deleted; their numbers never restart
    # Fencing: a process writes only where both are still its own.
    Column("owner", ID),
    Column("epoch", Integer, nullable=False, server_default="0"),
    # A stack's history, and its newest deployment.
    Index("ix_deployment_of_stack", "stack_id", "created_at", "id"),
    # Those whose events are still there, for whoever deletes them in time.
    Index("ix_deployment_log_kept", "concluded_at", **_where("log_expired_at IS NULL")),
    # How those of a kind ended lately, without a look at the rows.
    Index("ix_deployment_ended", "kind", "concluded_at", "conclusion"),
    Index(
        "ix_deployment_open",
        "created_at",
        **_where("status <> 'completed'"),
    ),
    # One run at a time changes a stack.
    Index(
        "uq_deployment_stack_open",
        "stack_id",
        unique=True,
        **_where("status <> 'completed'"),
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
    Column("server_id", _SERVER_ID, nullable=False, server_default=DEFAULT_SERVER),
    Column("name", String(300), nullable=False),
    Column("state", String(20), nullable=False),
    Column("dokploy_id", String(60)),
    Column("attempts", Integer, nullable=False),
    Column("intended_at", Moment),
    Column("changed_at", Moment, nullable=False),
    Index("ix_resource_kind_name", "kind", "name"),
    # Kept files, the last first.
    Index("ix_resource_kept", "changed_at", "stack_id", **_where("state = 'kept'")),
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
    # What is due: of each number of attempts, what has waited long enough.
    Index("ix_leftover_due", "attempts", "tried_at", **_where("removed_at IS NULL")),
    # Lists, the oldest first.
    Index("ix_leftover_left", "left_at", "stack_id", "kind", **_where("removed_at IS NULL")),
    Index("ix_leftover_all", "left_at", "stack_id", "kind"),
    Index("ix_leftover_deployment_id", "deployment_id"),
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
    Index("ix_offer_expires_at", "expires_at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("body_hash", String(64), nullable=False),
    Column("deployment_id", ID, ForeignKey("deployment.id"), nullable=False),
    Column("answer", LargeBinary, nullable=False),  # encrypted: it holds the manage key
    Column("created_at", Moment, nullable=False),
    Index("ix_idempotency_deployment_id", "deployment_id"),
    Index("ix_idempotency_created_at", "created_at"),
)

# Who may: people who signed in, their sessions, and tokens for programs.

# One row a person, as the provider or the proxy told of him last.
account = Table(
    "account",
    metadata,
    Column("id", ID, primary_key=True),
    Column("issuer", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("name", String(200)),
    Column("email", String(320)),
    Column("email_verified", Boolean),  # none where nothing was said of that
    Column("groups", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Index("uq_account_issuer_subject", "issuer", "subject", unique=True),
    Index("ix_account_seen_at", "seen_at"),
)

# One row a browser in which somebody is signed in; the cookie holds what `hash` is the fingerprint of.
session = Table(
    "session",
    metadata,
    Column("id", ID, primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("account_id", ID, ForeignKey("account.id")),  # none: the operator, by his token
    Column("bound_to", String(64)),  # fingerprint of that token: another one ends the session
    Column("address", String(64)),
    Column("browser", String(200)),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("uq_session_hash", "hash", unique=True),
    Index("ix_session_account_id", "account_id"),
    Index("ix_session_expires_at", "expires_at"),
)

# One row a token; the token itself is shown once, and then only its fingerprint is known.
token = Table(
    "token",
    metadata,
    Column("id", ID, primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("owner", String(80), nullable=False),  # whose stacks it reaches
    Column("bound_to", String(64)),  # fingerprint of the operator's token that it was made with: another one ends it
    Column("name", String(80), nullable=False),
    Column("scopes", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
    Column("revoked_at", Moment),
    Index("uq_token_hash", "hash", unique=True),
    Index("ix_token_owner", "owner", "created_at", "id"),
    Index("ix_token_all", "created_at", "id"),
    Index("ix_token_expires_at", "expires_at"),
    Index("ix_token_revoked_at", "revoked_at"),
)

# When old rows were last deleted, so that one process does it: `sweep` for all, and `audit` for the trail. before:
# which of its rows may be deleted at all, as its trigger reads; never one of the last day.
retention = Table(
    "retention",
    metadata,
    Column("what", String(20), primary_key=True),
    Column("before", Moment),
    Column("swept_at", Float, nullable=False),  # by the database's clock
)

# Who did what; triggers keep rows as they are, until `retention` says that they are old.
audit = Table(
    "audit",
    metadata,
    Column("id", ID, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("email", String(320)),
    Column("role", String(20), nullable=False),
    Column("means", String(20), nullable=False),
    Column("address", String(64)),
    Column("action", String(40), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("code", String(60)),
    Column("stack", String(AUDIT_TEXT)),
    Column("deployment_id", ID),
    Column("subject", String(AUDIT_TEXT)),
    Index("ix_audit_all", "at", "id"),
    Index("ix_audit_of_stack", "stack", "at", "id"),
    Index("ix_audit_of_actor", "actor", "at", "id"),
    Index("ix_audit_of_email", "email", "at", "id"),
)
