"""The allowlist: checks a visitor's address and groups against the operator's lists."""

import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from app.config.settings import Settings
from app.errors import PortalError

log = structlog.get_logger()

# Only these fold: some letters of other alphabets become Latin ones in small, and would make one address of two.
_FOLD: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ANY: Final = "*"
# Of hundreds of groups a line of the log names some.
_LOGGED_GROUPS: Final = 20


@dataclass(frozen=True)
class Claims:
    """What is said of somebody.

    issuer and subject together are who it is, for good; email_verified: None where nothing is said of that.
    """

    issuer: str
    subject: str
    name: str | None = None
    email: str | None = None
    email_verified: bool | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Admitted:
    """Somebody who is let in. is_operator: who may manage every stack."""

    is_operator: bool


class Allowlist:
    """The operator's lists."""

    def __init__(self, settings: Settings) -> None:
        """Read them once."""
        self._domains = frozenset(_folded(settings.allowed_domains))
        self._emails = frozenset(_folded(settings.allowed_emails))
        self._groups = frozenset(settings.allowed_groups)
        self._operator_emails = frozenset(_folded(settings.operator_emails))
        self._operator_groups = frozenset(settings.operator_groups)
        self._assume_verified = settings.oidc_assume_email_verified
        # A proxy that lets nobody through but those who may needs no second list.
        decided_before = settings.auth_mode == "proxy" and not (self._domains or self._emails or self._groups)
        self._admits_all = decided_before or _ANY in self._domains

    @property
    def asks_for_groups(self) -> bool:
        """Whether somebody's groups decide anything."""
        return bool(self._groups or self._operator_groups)

    def admit(self, claims: Claims) -> Admitted:
        """Let somebody in. Raises PortalError `not_admitted`."""
        email, domain = self._address(claims)
        groups = frozenset(claims.groups)
        if email in self._operator_emails or groups & self._operator_groups:
            return Admitted(is_operator=True)
        if self._admits_all or email in self._emails or domain in self._domains or groups & self._groups:
            return Admitted(is_operator=False)
        log.warning(
            "not_admitted",
            issuer=claims.issuer,
            subject=claims.subject,
            email=claims.email,
            email_verified=claims.email_verified,
            groups=claims.groups[:_LOGGED_GROUPS],
        )
        raise PortalError("not_admitted")

    def _address(self, claims: Claims) -> tuple[str | None, str | None]:
        """Return the verified e-mail address and its domain; empty where it is unverified or no address."""
        verified = self._assume_verified if claims.email_verified is None else claims.email_verified
        email = (claims.email or "").translate(_FOLD)
        local, _, domain = email.partition("@")
        if verified is not True or not local or not domain or "@" in domain:
            return None, None
        return email, domain


def _folded(texts: Iterable[str]) -> Iterable[str]:
    return (text.translate(_FOLD) for text in texts)
