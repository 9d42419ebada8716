"""Refusals of a request: noted for the headers of the answer, and on the audit trail."""

from typing import Final

import structlog
from fastapi import Request

from app.errors import PortalError
from app.store.errors import StoreAway
from app.web.auth.authorization import Rule
from app.web.deps import address_of, portal_of, principal_of
from app.web.rate_limits import counted_as, limits_of, note_limit

log = structlog.get_logger()

# Refused because of who asks. Other failures do not belong on the trail.
_REFUSALS: Final = frozenset(
    {
        "credential_unknown",
        "cross_site",
        "sign_in_needed",
        "operator_only",
        "not_operator",
        "not_admitted",
        "person_only",
        "scope_missing",
        "credential_missing",
        "credential_wrong",
        "token_wrong",
        "token_expired",
        "token_revoked",
        "sign_in_failed",
        "offer_invalid",
    }
)


async def note_refusal(request: Request, error: PortalError) -> None:
    """Note by which limit a request was refused, for the headers of its answer, and that it was, on the trail."""
    note_limit(request, error)
    await _audit(request, error)


async def _audit(request: Request, error: PortalError) -> None:
    """Note a refusal on the trail, if the request would have changed something.

    From one address once a minute for each action and code: visitors must not fill the store.
    """
    rule: Rule | None = getattr(request.state, "rule", None)
    if rule is None or rule.action is None or error.code not in _REFUSALS:
        return
    address = address_of(request)
    if not limits_of(request).refusals.is_first((counted_as(address or ""), rule.action, error.code)):
        return
    actor = principal_of(request).actor
    try:
        await portal_of(request).trail.refused(actor, rule.action, error.code, stack=request.path_params.get("name"))
    except StoreAway as away:
        log.warning("audit_lost", action=rule.action, code=error.code, reason=away.reason)
