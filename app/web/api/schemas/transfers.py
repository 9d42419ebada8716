"""The JSON of stack transfers."""

from datetime import datetime

from pydantic import Field

from app.web.api.schemas.base import Answer, Body


class OfferAnswer(Answer):
    """A code with which somebody may take a stack over, once."""

    code: str
    expires_at: datetime


class TakeOverBody(Body):
    """A stack to take over."""

    code: str = Field(max_length=200)
    """The code that its owner has passed on, or its manage key."""


class TakenOverAnswer(Answer):
    """A stack that is the caller's now."""

    stack_name: str
    url: str
    manage_key: str | None
    """Its new key, as POST /api/deploy answers it; the one before opens nothing any more."""
