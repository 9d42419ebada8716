"""Error mapping: what a failed call to Dokploy means for a deployment, and who can fix it."""

from app.dokploy import (
    DokployBadRequest,
    DokployCircuitOpen,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployMisfit,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)
from app.errors import PortalError

_CODES: dict[type[DokployError], str] = {
    DokployUnreachable: "dokploy_unreachable",
    DokployCircuitOpen: "dokploy_unreachable",
    DokployTimeout: "dokploy_timeout",
    DokployKeyRefused: "dokploy_key_refused",
    DokployDatabaseDown: "dokploy_database_down",
    DokployForbidden: "dokploy_forbidden",
    DokployNotFound: "dokploy_not_found",
    DokployBadRequest: "dokploy_refused",
    DokployServerError: "dokploy_failed",
    DokployUnreadable: "dokploy_unreadable",
    DokployMisfit: "dokploy_unreadable",
}

# Dokploy as a whole is away, or its key's limit is used up: worth waiting for.
_AWAY = (DokployUnreachable, DokployTimeout, DokployKeyRefused, DokployDatabaseDown, DokployUnreadable)


def is_away(error: DokployError) -> bool:
    """Whether a failed call says that Dokploy cannot be had now, rather than what it thinks of this call."""
    return isinstance(error, _AWAY) and not isinstance(error, DokployMisfit)


def problem_of(error: DokployError) -> PortalError:
    """Turn a failed call into a problem; Dokploy's own words, already masked, go to the log only."""
    cause = error.cause if isinstance(error, DokployCircuitOpen) and error.cause else error
    return PortalError(_CODES[type(cause)], log=str(error))
