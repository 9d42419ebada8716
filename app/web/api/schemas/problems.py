"""Problem documents (RFC 9457)."""

from typing import Literal

from pydantic import Field

from app.web.api.schemas.base import Answer


class ProblemDocument(Answer):
    """What went wrong (RFC 9457)."""

    class FieldError(Answer):
        """One field that is wrong."""

        field: str
        code: str
        message: str

    class Left(Answer):
        """One thing in Dokploy that could not be removed."""

        kind: str
        name: str

    type: str
    title: str
    status: int
    detail: str
    code: str
    """Stable, for programs."""
    hint: str
    """What to do next."""
    who_can_mend: Literal["user", "operator", "provider"]
    errors: list[FieldError]
    suggestions: list[str] = Field(default_factory=list)
    """Names near one that is taken, which are not."""
    leftovers: list[Left] = Field(default_factory=list)
    """What of a stack could not be removed."""
    status_url: str | None = None
    """Where the deployment is that ended so."""
