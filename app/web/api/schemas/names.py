"""The JSON of names."""

from app.web.api.schemas.base import Answer


class CheckAnswer(Answer):
    """Whether the caller can have a name, from the portal's own record; Dokploy is asked when it is deployed."""

    name: str
    normalized: str
    valid: bool
    available: bool
    files_kept: bool = False
    """Whether files of the caller's from an earlier stack of this name are there, and would be used."""
    code: str | None
    """Why not: one of the codes that begin with `name_`."""
    message: str
    suggestions: list[str]
