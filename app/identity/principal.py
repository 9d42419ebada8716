"""The principal: who asks, which stacks are theirs, and what they may do."""

import hmac
from dataclasses import dataclass, field
from typing import Final

from app.audit import Actor, Means, Role
from app.errors import PortalError
from app.identity.accounts import ACCOUNT
from app.identity.scopes import OWN_SCOPES, Scope
from app.identity.sessions import Session


@dataclass(frozen=True)
class Ownership:
    """Whose a stack is. owner: such as `account:...`; manage_key_hash: fingerprint of its manage key."""

    owner: str
    manage_key_hash: str = field(repr=False)

    @property
    def has_account(self) -> bool:
        """Whether it belongs to somebody with an account."""
        return self.owner.startswith(ACCOUNT)


@dataclass(frozen=True)
class Principal:
    """Who asks.

    owner: what his stacks have as their owner, where he has any; scopes: what he may do with them, and with `admin`
    with everybody's; key_hash: fingerprint of a Bearer that is no token, so that it may be the manage key of a stack;
    session: in which he is signed in; session_ended: whether his browser comes with one that does not count any more.
    """

    actor: Actor
    owner: str | None = None
    scopes: frozenset[Scope] = frozenset()
    key_hash: str | None = field(default=None, repr=False)
    session: Session | None = field(default=None, repr=False)
    session_ended: bool = False

    @property
    def is_operator(self) -> bool:
        """Whether everything is his to manage."""
        return Scope.ADMIN in self.scopes

    @property
    def is_known(self) -> bool:
        """Whether it is more than some browser: a person who is signed in, or a token of one."""
        return self.actor.means in {Means.SESSION, Means.PROXY, Means.TOKEN, Means.ADMIN_TOKEN}

    @property
    def is_person(self) -> bool:
        """Whether somebody sits in front of it, rather than a program with a token or a key."""
        return self.actor.means not in {Means.TOKEN, Means.MANAGE_KEY}

    @property
    def has_credential(self) -> bool:
        """Whether anything was shown at all."""
        return self.actor.means is not Means.NOTHING

    @property
    def counted_as(self) -> str:
        """Who it is where requests are counted; a manage key is somebody of its own."""
        return f"key:{self.key_hash[:16]}" if self.key_hash is not None else self.actor.id

    @property
    def gets_keys(self) -> bool:
        """Whether he is told the manage keys of what he makes: they open all of it, and go on for ever.

        Not whoever has an account, nor a token that was made for less.
        """
        has_account = self.owner is not None and self.owner.startswith(ACCOUNT)
        return not has_account and self.scopes >= OWN_SCOPES

    def owns(self, stack: Ownership) -> bool:
        """Whether a stack is this caller's, or everybody's are."""
        if self.is_operator:
            return True
        if self.key_hash is not None:
            # Whoever has an account is known by it, and ends with it: its stacks have no key that opens them.
            return not stack.has_account and hmac.compare_digest(self.key_hash, stack.manage_key_hash)
        return self.owner is not None and hmac.compare_digest(self.owner.encode(), stack.owner.encode())

    def may(self, scope: Scope) -> bool:
        """Whether the caller may do something with what is his."""
        return scope in self.scopes

    def must(self, scope: Scope) -> None:
        """Raise PortalError `scope_missing` unless the caller may do that with what is his."""
        if not self.may(scope):
            raise PortalError("scope_missing", scope=scope.value)


def nobody(address: str | None) -> Principal:
    """Whoever has shown nothing, or nothing that counts."""
    return Principal(Actor("anonymous", Role.STRANGER, Means.NOTHING, address=address))


NOBODY: Final = nobody(None)
"""Whoever has shown nothing, from nowhere."""
