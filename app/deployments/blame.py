"""Says what a failed call to Dokploy means to the person who waits, and who can mend it."""

from app.dokploy import (
    DokployBadRequest,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)
from app.errors import PortalError

_CODES: dict[type[DokployError], str] = {
    DokployUnreachable: "dokploy_unreachable",
    DokployTimeout: "dokploy_timeout",
    DokployKeyRefused: "dokploy_key_refused",
    DokployDatabaseDown: "dokploy_database_down",
    DokployForbidden: "dokploy_forbidden",
    DokployNotFound: "dokploy_not_found",
    DokployBadRequest: "dokploy_refused",
    DokployServerError: "dokploy_failed",
    DokployUnreadable: "dokploy_unreadable",
}

# Worth asking again while something is being removed: these pass by themselves, or when somebody mends them.
PASSING = (
    DokployUnreachable,
    DokployTimeout,
    DokployServerError,
    DokployUnreadable,
    DokployKeyRefused,
    DokployDatabaseDown,
)


def problem_of(error: DokployError) -> PortalError:
    """Turn a failed call into a problem; Dokploy's own words, already masked, go to the log only."""
    return PortalError(_CODES[type(error)], log=str(error))
