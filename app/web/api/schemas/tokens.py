"""The JSON of access tokens."""

from datetime import datetime
from typing import Any

from pydantic import Field

from app.identity import MAX_DAYS, USUAL_DAYS, Scope, Token
from app.store.paging import Page
from app.web.api.schemas.base import Answer, Body, PageAnswer


class TokenBody(Body):
    """A token to make."""

    name: str = Field(max_length=1000)
    """What it is for: 1 to 80 characters."""
    scopes: list[Any] = Field(
        max_length=100, json_schema_extra={"items": {"type": "string", "enum": [scope.value for scope in Scope]}}
    )
    """What it may do."""
    expires_in_days: int = Field(USUAL_DAYS, json_schema_extra={"minimum": 1, "maximum": MAX_DAYS})
    """For how long it is good."""


class TokenAnswer(Answer):
    """A token, without what it is known by."""

    id: str
    name: str
    scopes: list[str]
    good: bool
    """Whether it opens anything: neither expired nor revoked."""
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    """When it was last used, to the minute."""
    revoked_at: datetime | None


class NewTokenAnswer(TokenAnswer):
    """A token that was made."""

    token: str
    """The token itself, shown this once: send it as `Authorization: Bearer`."""


class TokensAnswer(PageAnswer):
    """Tokens, newest first."""

    items: list[TokenAnswer]


def token_answer(token: Token) -> TokenAnswer:
    """Return a token as JSON."""
    return TokenAnswer(
        id=token.id,
        name=token.name,
        scopes=sorted(token.scopes),
        good=token.is_good,
        created_at=token.created_at,
        expires_at=token.expires_at,
        used_at=token.used_at,
        revoked_at=token.revoked_at,
    )


def tokens_answer(page: Page[Token]) -> TokensAnswer:
    """Return a page of tokens as JSON."""
    return TokensAnswer(items=[token_answer(each) for each in page.items], next_cursor=page.next_cursor)
