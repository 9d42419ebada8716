"""Environment variables as Dokploy's dotenv text; refuses what that text cannot express."""

import re
from collections.abc import Iterable

from app.errors import PortalError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]*")
# Dokploy's reader knows three quotes, and no way to write a quote within its own kind.
_QUOTES = "\"'`"


def write_dotenv(variables: Iterable[tuple[str, str]]) -> str:
    """Return one line a variable, each value quoted so that Dokploy reads it back unchanged.

    Raises PortalError `variable_unsayable` for a value that no quoting carries: all three kinds of quote at once,
    a reference that Dokploy would fill in (`${{`), or a NUL.
    """
    return "\n".join(f"{name}={_quote(name, value)}" for name, value in variables)


def _quote(name: str, value: str) -> str:
    if "${{" in value or "\0" in value or "\r" in value:
        raise PortalError("variable_unsayable", variable=name)
    if _PLAIN.fullmatch(value):
        return value
    for quote in _QUOTES:
        # Within double quotes a backslash and an n become a newline, so such a value takes another kind.
        if quote not in value and not (quote == '"' and "\\" in value):
            # A quoted value that ends in a backslash would hide its closing quote.
            if value.endswith("\\"):
                break
            return f"{quote}{value}{quote}"
    raise PortalError("variable_unsayable", variable=name)
