"""The tables of who may: accounts of people who signed in, their sessions, and tokens for programs."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, String, Table

from app.database import Json, Moment, metadata

ID = String(26)  # a ULID

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
    Index("ix_token_owner", "owner"),
)
