"""user.* and organization.*: as much as it takes to make a key."""

import secrets
from typing import Any

from app.sandbox.errors import CallError
from app.sandbox.registry import Call, mutation, query
from app.sandbox.rows import ORGANIZATION_ID, USER_ID, Row, new_id, timestamp
from app.sandbox.validation import Field, optional, text

_RIGHTS = (
    *("canCreateProjects", "canAccessToSSHKeys", "canCreateServices", "canDeleteProjects", "canDeleteServices"),
    *("canAccessToDocker", "canAccessToAPI", "canAccessToGitProviders", "canAccessToTraefikFiles"),
    *("canDeleteEnvironments", "canCreateEnvironments"),
)
_ACCESSED = (
    *("accessedProjects", "accessedEnvironments", "accessedServices"),
    *("accessedGitProviders", "accessedServers"),
)
_SINCE = "2026-01-01T00:00:00.000Z"
_DAY_MS = 86_400_000


@query("organization.all")
def organizations(call: Call) -> Any:  # noqa: ARG001 - it asks for nothing
    """List the one organization."""
    return [
        {
            "id": ORGANIZATION_ID,
            "name": "My Organization",
            **dict.fromkeys(("slug", "logo")),
            "createdAt": _SINCE,
            **dict.fromkeys(("metadata", "defaultRole")),
            "ownerId": USER_ID,
            "members": [_member()],
        }
    ]


@query("user.get")
def get(call: Call) -> Any:
    """Tell who the key belongs to."""
    columns = ("id", "name", "prefix", "enabled", "expiresAt", "createdAt")
    keys = [{column: key[column] for column in columns} for key in call.server.state.api_keys.values()]
    return {
        **_member(),
        "user": {
            "id": USER_ID,
            "firstName": "Admin",
            "lastName": "Sandbox",
            "email": "admin@sandbox.test",
            "image": None,
            "allowImpersonation": False,
            "twoFactorEnabled": False,
            **dict.fromkeys(("stripeCustomerId", "stripeSubscriptionId")),
            "serversQuantity": 0,
            "isEnterpriseCloud": False,
            "sendInvoiceNotifications": False,
            "apiKeys": keys,
        },
    }


@mutation(
    "user.createApiKey",
    text("name", min=1, max=32, max_message="Name must be at most 32 characters"),
    Field("metadata", "object", inner=(text("organizationId"),)),
    optional("prefix"),
    optional("expiresIn", "number"),
    optional("rateLimitEnabled", "boolean"),
    *(optional(name, "number") for name in ("rateLimitTimeWindow", "rateLimitMax", "remaining")),
    *(optional(name, "number") for name in ("refillAmount", "refillInterval")),
)
def create_api_key(call: Call) -> Any:
    """Make a key; one that asks for nothing else is limited to ten counts a day."""
    given = call.given
    if given.get("expiresIn", _DAY_MS) < _DAY_MS / 1000:
        raise CallError(500, "The expiresIn is smaller than the predefined minimum value.")
    secret, now = (given.get("prefix") or "") + secrets.token_urlsafe(48), timestamp()
    row: Row = {
        "configId": "default",
        "name": given["name"],
        "start": secret[:6],
        "referenceId": USER_ID,
        "prefix": given.get("prefix"),
        "key": secret,
        "refillInterval": given.get("refillInterval"),
        "refillAmount": given.get("refillAmount"),
        "lastRefillAt": None,
        "enabled": True,
        "rateLimitEnabled": given.get("rateLimitEnabled", True),
        "rateLimitTimeWindow": given.get("rateLimitTimeWindow", _DAY_MS),
        "rateLimitMax": given.get("rateLimitMax", 10),
        "requestCount": 0,
        "remaining": given.get("remaining"),
        "lastRequest": None,
        "expiresAt": None,
        "createdAt": now,
        "updatedAt": now,
        "permissions": None,
        "metadata": None,
        "id": new_id(),
    }
    call.server.state.api_keys[secret] = row
    return row


def _member() -> Row:
    return {
        "id": "sandboxMember00000000",
        "organizationId": ORGANIZATION_ID,
        "userId": USER_ID,
        "role": "owner",
        "createdAt": _SINCE,
        "teamId": None,
        "isDefault": True,
        **dict.fromkeys(_RIGHTS, False),
        **{name: [] for name in _ACCESSED},
    }
