"""Scopes of tokens. People who are signed in have all of them for their own stacks, except `admin`."""

from enum import StrEnum
from typing import Final

from app.errors import N_, PortalError


class Scope(StrEnum):
    """One thing that a token may be made for."""

    DEPLOY_READ = "deploy:read"
    DEPLOY_START = "deploy:start"
    DEPLOY_CANCEL = "deploy:cancel"
    DEPLOY_ROLLBACK = "deploy:rollback"
    STACK_READ = "stack:read"
    STACK_MANAGE = "stack:manage"
    STACK_DELETE = "stack:delete"
    ADMIN = "admin"


SCOPE_LABELS: Final = {
    Scope.DEPLOY_READ: N_("Follow deployments and read their records"),
    Scope.DEPLOY_START: N_("Deploy stacks, new and again"),
    Scope.DEPLOY_CANCEL: N_("Cancel deployments"),
    Scope.DEPLOY_ROLLBACK: N_("Take stacks back to an earlier version"),
    Scope.STACK_READ: N_("List stacks, without their passwords"),
    Scope.STACK_MANAGE: N_("Read and change passwords, hand stacks over"),
    Scope.STACK_DELETE: N_("Delete stacks"),
    Scope.ADMIN: N_("Everything an operator may, with every stack"),
}

EVERY_SCOPE: Final = frozenset(Scope)
OWN_SCOPES: Final = EVERY_SCOPE - {Scope.ADMIN}
"""What anybody may do with what is his own."""


def parse_scopes(given: object) -> frozenset[Scope]:
    """Read scopes as they came. Raises PortalError `scopes_invalid`: none, or one that does not exist."""
    names = given if isinstance(given, list | tuple | set | frozenset) else ()
    try:
        scopes = frozenset(Scope(name) for name in names)
    except ValueError:
        scopes = frozenset()
    if not scopes:
        raise PortalError("scopes_invalid", field="scopes")
    return scopes
