"""The visitor named by a proxy's headers, believed from the proxy's own address only."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import structlog
from fastapi import Request

from app.config.settings import Settings
from app.errors import PortalError
from app.identity import PROXY, Claims

log = structlog.get_logger()

_MOST_CHARACTERS: Final = 300
# A directory may have somebody in many groups.
_MOST_GROUP_CHARACTERS: Final = 8000


def claims_of(request: Request) -> Claims | None:
    """Return the visitor whom the proxy names; None where it names none or the peer is not the proxy.

    A Bearer token counts alone. Raises PortalError `sign_in_failed` where what the proxy says cannot be trusted to be
    its own: a header that comes twice, or that is no plain text.
    """
    settings: Settings = request.app.state.settings
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        return None
    if not _is_listed(getattr(request.state, "peer", None), settings.proxy_auth_addresses):
        return None
    user = _value(request, settings.proxy_auth_user_header)
    if user is None:
        return None
    email = _value(request, settings.proxy_auth_email_header)
    groups = _value(request, settings.proxy_auth_groups_header, most=_MOST_GROUP_CHARACTERS) or ""
    return Claims(
        issuer=PROXY,
        subject=user,
        name=_value(request, settings.proxy_auth_name_header),
        email=email,
        # The proxy is believed in everything that it says.
        email_verified=None if email is None else True,
        groups=tuple(group.strip() for group in groups.split(",") if group.strip()),
    )


def _is_listed(peer: str | None, addresses: Sequence[str]) -> bool:
    """Whether the connection itself comes from the proxy."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    # How an IPv4 peer looks to a socket that listens on IPv6.
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in _networks(tuple(addresses)))


@lru_cache(maxsize=4)
def _networks(addresses: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(address, strict=False) for address in addresses)


def _value(request: Request, header: str, *, most: int = _MOST_CHARACTERS) -> str | None:
    values = request.headers.getlist(header)
    if not values:
        return None
    if len(values) > 1:
        raise _refused(header, "sent twice")
    try:
        # Starlette reads headers as Latin-1, and proxies write UTF-8.
        text = values[0].encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        raise _refused(header, "not UTF-8") from None
    if len(text) > most or not text.isprintable():
        raise _refused(header, "too long, or with characters that cannot be printed")
    return text or None


def _refused(header: str, why: str) -> PortalError:
    log.warning("sign_in_failed", why=f"header {header}: {why}")
    return PortalError("sign_in_failed", log=why)
