"""How often somebody may try: counted in memory, for this process, by the address that asks."""

import ipaddress
import math
import time
from functools import cached_property
from typing import TYPE_CHECKING, Final

from fastapi import Request

from app.errors import PortalError

if TYPE_CHECKING:
    from limits import RateLimitItemPerMinute
    from limits.storage import MemoryStorage
    from limits.strategies import MovingWindowRateLimiter

# An IPv6 client has a whole network of addresses to itself.
_IPV6_NETWORK: Final = 64
# The library forgets counts but not whose they were.
_MOST_ADDRESSES: Final = 1000


class Limit:
    """So many in a minute from one address, in a window that moves; whoever has used them up waits."""

    def __init__(self, a_minute: int) -> None:
        self._a_minute = a_minute

    def check(self, request: Request) -> None:
        """Raise PortalError `too_many_requests` while the address has none left."""
        stats = self._limiter.get_window_stats(self._item, _address_of(request))
        if stats.remaining <= 0:
            raise PortalError("too_many_requests", seconds=max(1, math.ceil(stats.reset_time - time.time())))

    def count(self, request: Request) -> None:
        """Count one from this address."""
        self._limiter.hit(self._item, _address_of(request))
        if len(self._storage.events) > _MOST_ADDRESSES:
            for key in [key for key, events in list(self._storage.events.items()) if not events]:
                self._storage.clear(key)

    # Loaded at the first use: the library takes a while to import, and most commands never need it.

    @cached_property
    def _storage(self) -> "MemoryStorage":
        from limits.storage import MemoryStorage

        return MemoryStorage()

    @cached_property
    def _limiter(self) -> "MovingWindowRateLimiter":
        from limits.strategies import MovingWindowRateLimiter

        return MovingWindowRateLimiter(self._storage)

    @cached_property
    def _item(self) -> "RateLimitItemPerMinute":
        from limits import RateLimitItemPerMinute

        return RateLimitItemPerMinute(self._a_minute)


class Limits:
    """The limits of one portal process."""

    def __init__(self) -> None:
        self.sign_in = Limit(10)
        """Tokens that were wrong."""


def limits_of(request: Request) -> Limits:
    """The limits that this process keeps."""
    limits: Limits = request.app.state.limits
    return limits


def _address_of(request: Request) -> str:
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket that is a file has none
        return host
    if isinstance(address, ipaddress.IPv4Address) or address.ipv4_mapped:
        return host
    return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
