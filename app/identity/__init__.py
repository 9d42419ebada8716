"""Identity: who asks, and what they own. Knows neither HTTP nor HTML."""

from app.identity.accounts import Account, Accounts
from app.identity.allowlist import Allowlist, Claims
from app.identity.authentication import OPERATOR, PROXY, Authentication, Shown, new_browser_owner, operator
from app.identity.principal import NOBODY, Ownership, Principal, nobody
from app.identity.scopes import EVERY_SCOPE, OWN_SCOPES, SCOPE_LABELS, Scope, parse_scopes
from app.identity.sessions import Session, Sessions
from app.identity.tokens import MAX_DAYS, MAX_TOKENS, USUAL_DAYS, Token, Tokens, is_token

__all__ = [
    "EVERY_SCOPE",
    "MAX_DAYS",
    "MAX_TOKENS",
    "NOBODY",
    "OPERATOR",
    "OWN_SCOPES",
    "PROXY",
    "SCOPE_LABELS",
    "USUAL_DAYS",
    "Account",
    "Accounts",
    "Allowlist",
    "Authentication",
    "Claims",
    "Ownership",
    "Principal",
    "Scope",
    "Session",
    "Sessions",
    "Shown",
    "Token",
    "Tokens",
    "is_token",
    "new_browser_owner",
    "nobody",
    "operator",
    "parse_scopes",
]
