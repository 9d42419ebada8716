"""The caller of a request: a browser known by its signed cookies, a program with a key, the operator, or a stranger."""

import hmac
import secrets
from dataclasses import dataclass, field

from app.errors import PortalError
from app.vault import matches


@dataclass(frozen=True)
class Ownership:
    """Whose a stack is. owner: such as `browser:...`; manage_key_hash: fingerprint of its manage key."""

    owner: str
    manage_key_hash: str = field(repr=False)


@dataclass(frozen=True)
class Caller:
    """Who asks.

    owner: what stacks of this browser have as their owner, where it has a cookie of ours; bearer: the token that was
    sent; admin_token: the operator's, to compare with; in_session: whether the operator has signed in here.
    """

    owner: str | None = None
    bearer: str | None = field(default=None, repr=False)
    admin_token: str | None = field(default=None, repr=False)
    in_session: bool = False

    @property
    def is_operator(self) -> bool:
        """Whether it is the operator, by his token or in his session. A token, where one was sent, counts alone."""
        if self.bearer is None:
            return self.in_session
        if self.admin_token is None:
            return False
        return hmac.compare_digest(self.bearer.encode(), self.admin_token.encode())

    @property
    def has_credential(self) -> bool:
        """Whether anything was shown at all."""
        return self.bearer is not None or self.owner is not None or self.in_session

    @property
    def name(self) -> str:
        """Who it was, for the record; never a secret."""
        if self.is_operator:
            return "operator"
        return "key" if self.bearer is not None else self.owner or "anonymous"

    def manages(self, stack: Ownership) -> bool:
        """Whether a stack is this caller's to manage. A token, where one was sent, counts alone."""
        if self.is_operator:
            return True
        if self.bearer is not None:
            return matches(self.bearer, stack.manage_key_hash)
        return self.owner is not None and hmac.compare_digest(self.owner, stack.owner)

    def must_operate(self) -> None:
        """Raise PortalError `token_wrong` or `operator_only` unless the caller is the operator."""
        if not self.is_operator:
            raise PortalError("token_wrong" if self.bearer is not None else "operator_only")

    def must_manage(self, stack: Ownership) -> None:
        """Raise PortalError `credential_missing` or `credential_wrong` unless the caller manages the stack."""
        if not self.manages(stack):
            raise PortalError("credential_wrong" if self.has_credential else "credential_missing")


def new_browser_owner() -> str:
    """Make the owner under which a browser's stacks are kept."""
    return f"browser:{secrets.token_urlsafe(18)}"
