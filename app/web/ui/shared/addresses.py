"""Addresses of pages that other features lead to."""

from typing import Final
from urllib.parse import urlencode

SIGN_IN: Final = "/sign-in"
SIGNED_OUT: Final = "/signed-out"
ACCOUNT: Final = "/account"
AUDIT: Final = "/operator/audit"


def trail_of(stack: str = "", actor: str = "") -> str:
    """Return the address of a part of the audit trail."""
    said = {name: value for name, value in (("stack", stack), ("actor", actor)) if value}
    return f"{AUDIT}?{urlencode(said)}" if said else AUDIT
