"""The operator's session in a browser: begun with his token, good for twelve hours, ended by any other token."""

from typing import Final

from app.vault import Vault

SESSION_SECONDS: Final = 12 * 3600
# What the cookie says; that it is ours, and of the present token, is said by its signature.
_WHO: Final = "operator"


def begin_session(vault: Vault, admin_token: str) -> str:
    """Make the value of the cookie."""
    return vault.sign_session(_WHO, admin_token)


def is_session(vault: Vault, admin_token: str, signed: str) -> bool:
    """Whether a cookie's value still counts."""
    return vault.unsign_session(signed, admin_token, seconds=SESSION_SECONDS) == _WHO
