"""Rate limits by address and by principal, counted in memory or, for several portals, in Redis."""

import ipaddress
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from fastapi import Request
from pydantic import SecretStr

from app.config.settings import Settings
from app.errors import PortalError
from app.web.deps import address_of

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.strategies import FixedWindowRateLimiter

log = structlog.get_logger()

T = TypeVar("T")

# An IPv6 client has a whole network of addresses to itself.
_IPV6_NETWORK: Final = 64
# Redis answers within a millisecond; nobody is to wait for one that does not, nor to find that out again and again.
_REDIS_SECONDS: Final = 0.5
_REDIS_PAUSE: Final = 2.0
_REDIS_CONNECTIONS: Final = 32
# When somebody may ask again for a stream: nobody knows when another of his ends.
_STREAM_SECONDS: Final = 10
# The trail keeps what is on it for ever, so strangers must not fill it.
_REFUSAL_SECONDS: Final = 60
_MOST_REFUSALS: Final = 10_000
# What a platform asks to know whether the portal lives.
UNLIMITED: Final = frozenset({"/health", "/ready"})
# The limits that are no rates: streams, and those by which `app.stacks.quotas` refuses.
_QUOTAS: Final = {
    "too_many_streams": "streams",
    "stacks_full": "stacks",
    "stacks_of_owner": "stacks-of-owner",
    "in_flight_full": "in-flight",
    "in_flight_of_owner": "in-flight-of-owner",
}


@dataclass(frozen=True)
class Standing:
    """How somebody stands with one limit.

    quota: so many in `window` seconds, or, without a window, at once; remaining: of these; seconds: until all of them
    are there again.
    """

    policy: str
    quota: int
    remaining: int
    window: int | None = None
    seconds: int | None = None


class LimitReachedError(PortalError):
    """Somebody has asked too often: `too_many_requests`, with how he stands with that limit."""

    def __init__(self, standing: Standing) -> None:
        super().__init__("too_many_requests", seconds=standing.seconds or 1, policy=standing.policy)
        self.standing = standing


class _Counts:
    """Counts in Redis where there is one; in this process's memory where there is none, or while it is away.

    A window begins with the first request in it, and is over for good after its time.
    """

    def __init__(self, redis_url: SecretStr | None) -> None:
        # Imported here: the libraries take a while, and most commands never need them.
        from limits.aio.storage import MemoryStorage
        from limits.aio.strategies import FixedWindowRateLimiter

        self._memory = FixedWindowRateLimiter(MemoryStorage())
        self._redis: FixedWindowRateLimiter | None = None
        self._pool: Any = None
        self._is_away = False
        self._again_at = 0.0
        if redis_url is not None:
            self._redis = self._open(redis_url.get_secret_value())

    def _open(self, url: str) -> "FixedWindowRateLimiter":
        from limits.aio.storage import RedisStorage
        from limits.aio.strategies import FixedWindowRateLimiter
        from redis.asyncio import BlockingConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_REDIS_CONNECTIONS,
            timeout=_REDIS_SECONDS,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        storage = RedisStorage(
            f"async+{url}", implementation="redispy", key_prefix="ai-stack-deployer", connection_pool=self._pool
        )
        return FixedWindowRateLimiter(storage)

    async def ask(self, ask: "Callable[[FixedWindowRateLimiter], Awaitable[T]]") -> T:
        """Ask whatever counts now."""
        if self._redis is not None and (not self._is_away or time.monotonic() >= self._again_at):
            from redis.exceptions import RedisError

            # Of those who come while it is away, one tries.
            self._again_at = time.monotonic() + _REDIS_PAUSE
            try:
                answer = await ask(self._redis)
            except (RedisError, OSError) as error:
                if not self._is_away:
                    # Only its kind: its words may hold the address, and that a password.
                    log.warning("limits_without_redis", reason=type(error).__name__)
                self._is_away = True
            else:
                if self._is_away:
                    log.info("limits_with_redis_again")
                self._is_away = False
                return answer
        return await ask(self._memory)

    async def aclose(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()


class Rate:
    """One limit: so often in a span of time, or, where it is off, as often as one likes."""

    def __init__(self, counts: _Counts, policy: str, said: str) -> None:
        """`said`: in the words of a setting, such as `600/minute` or `off`."""
        self._counts = counts
        self._policy = policy
        self._item: RateLimitItem | None = None
        if said != "off":
            from limits import parse

            self._item = parse(said)

    async def take(self, who: str) -> list[Standing]:
        """Count one, and say how somebody stands; nothing where it is off. Raises LimitReachedError."""
        item = self._item
        if item is None:
            return []
        is_within = await self._counts.ask(lambda counts: counts.hit(item, self._policy, who))
        standing = await self._look(item, who)
        if not is_within:
            raise LimitReachedError(standing)
        return [standing]

    async def check(self, who: str) -> None:
        """Count nothing. Raises LimitReachedError where nothing remains."""
        if self._item is not None and (standing := await self._look(self._item, who)).remaining <= 0:
            raise LimitReachedError(standing)

    async def _look(self, item: "RateLimitItem", who: str) -> Standing:
        stats = await self._counts.ask(lambda counts: counts.get_window_stats(item, self._policy, who))
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        return Standing(self._policy, item.amount, max(0, stats.remaining), item.get_expiry(), seconds)


class WrongCredentials:
    """How often one address may come with a credential that is wrong."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate

    async def check(self, address: str) -> None:
        """Raise LimitReachedError while the address has no try left."""
        await self._rate.check(counted_as(address))

    async def count(self, address: str) -> None:
        """Count a wrong one. Raises LimitReachedError for one too many, as where several were tried at once."""
        await self._rate.take(counted_as(address))


class Streams:
    """How many streams an address holds at this process."""

    def __init__(self, quota: int) -> None:
        """`quota`: how many it may hold at once; 0 for as many as it likes."""
        self._quota = quota
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, address: str) -> Iterator[None]:
        """Hold one for as long as the block lasts. Raises PortalError `too_many_streams`."""
        who = counted_as(address)
        if self._quota and self._held[who] >= self._quota:
            raise PortalError("too_many_streams", limit=self._quota, seconds=_STREAM_SECONDS)
        self._held[who] += 1
        try:
            yield
        finally:
            self._held[who] -= 1
            if not self._held[who]:
                del self._held[who]


class Lately:
    """What has happened within some seconds: of what happens again and again only the first is told.

    Of more than it has room for the oldest is forgotten.
    """

    def __init__(self, seconds: float, *, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._told: dict[Hashable, float] = {}

    def is_first(self, what: Hashable) -> bool:
        """Whether it has not been told within that time; it is from now on."""
        now = self._clock()
        told_at = self._told.get(what)
        if told_at is not None and now - told_at < self._seconds:
            return False
        self._told.pop(what, None)
        self._told[what] = now
        if len(self._told) > self._most:
            del self._told[next(iter(self._told))]
        return True


class Limits:
    """The limits of a portal, counted together with others on the same Redis."""

    def __init__(self, settings: Settings) -> None:
        self._counts = _Counts(settings.redis_url)
        self._requests = self._rate("address", settings.rate_per_address), self._rate("actor", settings.rate_per_actor)
        self._deploys = (
            self._rate("deploy-address", settings.deploy_rate_per_address),
            self._rate("deploy-actor", settings.deploy_rate_per_actor),
        )
        self.wrong_credential = WrongCredentials(self._rate("wrong-credential", settings.wrong_credential_rate))
        self.streams = Streams(settings.max_streams_per_address)
        self.refusals = Lately(_REFUSAL_SECONDS, most=_MOST_REFUSALS)

    def _rate(self, policy: str, said: str) -> Rate:
        return Rate(self._counts, policy, said)

    async def requests(self, *, address: str | None = None, actor: str | None = None) -> list[Standing]:
        """Count a request, and say how its sender stands. Raises LimitReachedError."""
        return await self._take(self._requests, address, actor)

    async def deploys(self, *, address: str | None = None, actor: str | None = None) -> list[Standing]:
        """Count a request for a deployment, and say how its sender stands. Raises LimitReachedError."""
        return await self._take(self._deploys, address, actor)

    @staticmethod
    async def _take(rates: tuple[Rate, Rate], address: str | None, actor: str | None) -> list[Standing]:
        per_address, per_actor = rates
        standings = [] if address is None else await per_address.take(counted_as(address))
        return standings if actor is None else standings + await per_actor.take(actor)

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._counts.aclose()


async def limit_deploys(request: Request) -> None:
    """Count a request for a deployment by its address. Raises LimitReachedError."""
    note(request, await limits_of(request).deploys(address=address_of(request) or ""))


async def limit_actor(request: Request, actor: str, *, deploys: bool) -> None:
    """Count a request by its principal, from wherever it comes. deploys: also as one for a deployment.

    Raises LimitReachedError.
    """
    limits = limits_of(request)
    note(request, await limits.requests(actor=actor))
    if deploys:
        note(request, await limits.deploys(actor=actor))


def limits_of(request: Request) -> Limits:
    """Return the limits that this portal keeps."""
    limits: Limits = request.app.state.limits
    return limits


def counted_as(address: str) -> str:
    """Return what an address is counted as: itself, or its IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a socket that is a file has none
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, _IPV6_NETWORK), strict=False))


def note(request: Request, standings: Sequence[Standing]) -> None:
    """Keep how the sender stands, for `app.web.middleware.headers` to tell."""
    request.state.standings = [*getattr(request.state, "standings", ()), *standings]


def note_limit(request: Request, error: PortalError) -> None:
    """Keep by which limit a request was refused, if it was by one."""
    if isinstance(error, LimitReachedError):
        note(request, [error.standing])
    elif policy := _QUOTAS.get(error.code):
        note(request, [Standing(policy, int(error.params["limit"]), 0)])


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """RateLimit-Policy and RateLimit, as draft-ietf-httpapi-ratelimit-headers has them since its eighth version."""
    if not standings:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{each.policy}"' + _named(q=each.quota, w=each.window) for each in standings),
        "RateLimit": ", ".join(f'"{each.policy}"' + _named(r=each.remaining, t=each.seconds) for each in standings),
    }


def _named(**parameters: int | None) -> str:
    return "".join(f";{name}={value}" for name, value in parameters.items() if value is not None)
