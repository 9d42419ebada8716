"""Limits: what is counted together, what is left, what the headers say, and how settings say it."""

import asyncio
from typing import Any

import pytest

from app.config.settings import Settings
from app.errors import PortalError, SettingsError
from app.web.rate_limits import Lately, LimitReachedError, Limits, Standing, Streams, counted_as, headers_of
from tests.servers import portal_settings
from tests.waiting import until

pytestmark = pytest.mark.anyio


def settings(**values: Any) -> Settings:
    return portal_settings("http://127.0.0.1:9", "sqlite+aiosqlite:///:memory:", **values)


def limits(**values: Any) -> Limits:
    return Limits(settings(**values))


async def test_so_many_and_then_no_more():
    kept = limits(rate_per_address="2/minute")

    (first,) = await kept.requests(address="192.0.2.1")
    (second,) = await kept.requests(address="192.0.2.1")
    with pytest.raises(LimitReachedError) as refused:
        await kept.requests(address="192.0.2.1")

    assert (first.policy, first.quota, first.window, first.remaining) == ("address", 2, 60, 1)
    assert second.remaining == 0
    assert refused.value.code == "too_many_requests"
    assert refused.value.params["policy"] == "address"
    assert 1 <= int(refused.value.params["seconds"]) <= 60
    assert refused.value.standing.remaining == 0
    await kept.requests(address="192.0.2.2")


async def test_requests_are_admitted_again_once_the_window_is_over():
    kept = limits(rate_per_address="1/second")

    async def is_admitted():
        try:
            await kept.requests(address="192.0.2.1")
        except LimitReachedError:
            return False
        return True

    async def is_refused():
        return not await is_admitted()

    await until(is_refused)
    await until(is_admitted, pause=0.05)


async def test_an_actor_is_counted_wherever_he_asks_from():
    kept = limits(rate_per_actor="2/minute", rate_per_address="10/minute")
    standings = await kept.requests(address="192.0.2.1", actor="browser:ada")
    assert [(each.policy, each.remaining) for each in standings] == [("address", 9), ("actor", 1)]
    await kept.requests(address="192.0.2.2", actor="browser:ada")

    with pytest.raises(LimitReachedError) as refused:
        await kept.requests(address="192.0.2.3", actor="browser:ada")

    assert refused.value.params["policy"] == "actor"
    await kept.requests(address="192.0.2.3", actor="browser:bob")


async def test_deployments_are_counted_apart():
    kept = limits(rate_per_address="1/minute", deploy_rate_per_address="1/hour", deploy_rate_per_actor="5/hour")
    await kept.requests(address="192.0.2.1")
    standings = await kept.deploys(address="192.0.2.1", actor="browser:ada")
    assert [(each.policy, each.window) for each in standings] == [("deploy-address", 3600), ("deploy-actor", 3600)]

    with pytest.raises(LimitReachedError) as refused:
        await kept.deploys(address="192.0.2.1", actor="browser:ada")

    assert refused.value.params["policy"] == "deploy-address"


async def test_what_is_off_is_not_counted():
    kept = limits()

    for _ in range(1000):
        assert await kept.requests(address="192.0.2.1", actor="browser:ada") == []
    assert await kept.deploys(address="192.0.2.1", actor="browser:ada") == []


async def test_only_wrong_credentials_are_counted():
    wrong = limits(wrong_credential_rate="10/minute").wrong_credential
    for _ in range(9):
        await wrong.count("192.0.2.1")
    for _ in range(20):
        await wrong.check("192.0.2.1")
    await wrong.count("192.0.2.1")

    for attempt in (wrong.check, wrong.count):
        with pytest.raises(LimitReachedError) as refused:
            await attempt("192.0.2.1")
        assert refused.value.params["policy"] == "wrong-credential"
    await wrong.check("192.0.2.2")


async def test_of_a_hundred_at_once_none_is_too_much():
    kept = limits(rate_per_address="10/minute")

    results = await asyncio.gather(*(kept.requests(address="192.0.2.1") for _ in range(100)), return_exceptions=True)

    assert sum(isinstance(result, list) for result in results) == 10
    assert sum(isinstance(result, PortalError) for result in results) == 90


async def test_addresses_that_came_long_ago_are_forgotten():
    kept = limits(rate_per_address="10/hour")
    for number in range(500):
        await kept.requests(address=f"10.0.{number // 250}.{number % 250}")
    memory = vars(kept._counts._memory.storage)
    counted: dict[str, int] = memory["storage"]
    assert len(counted) == 500

    memory["expirations"].update(dict.fromkeys(counted, 0.0))  # as if an hour had passed
    await kept.requests(address="192.0.2.1")

    await until(lambda: len(counted) == 1)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "", True),
        ("not-an-address", "neither", False),
    ],
)
def test_who_is_counted_together(one: str, other: str, together: bool):
    assert (counted_as(one) == counted_as(other)) is together


def test_a_stream_that_breaks_off_is_held_no_longer():
    streams = Streams(1)

    for error in (RuntimeError, asyncio.CancelledError):
        with pytest.raises(error), streams.hold("2001:db8::1"):
            with pytest.raises(PortalError, match="too_many_streams"), streams.hold("2001:db8::2"):
                pass
            with streams.hold("192.0.2.1"):
                pass
            raise error
    with streams.hold("2001:db8::2"):
        pass


def test_nought_streams_are_as_many_as_one_likes():
    streams = Streams(0)

    with streams.hold("192.0.2.1"), streams.hold("192.0.2.1"):
        pass


def test_what_happens_again_and_again_is_told_once_in_that_time():
    now = 0.0
    lately = Lately(60, most=2, clock=lambda: now)

    assert [lately.is_first("a") for _ in range(3)] == [True, False, False]
    now = 59.9
    assert [lately.is_first(each) for each in "ab"] == [False, True]
    now = 60.0
    assert [lately.is_first(each) for each in "aba"] == [True, False, False]
    # Of three there is room for two: the oldest is told anew.
    assert [lately.is_first(each) for each in "cab"] == [True, False, True]


def test_the_headers_are_those_of_the_draft():
    assert headers_of([]) == {}
    assert headers_of([Standing("address", 600, 42, 60, 17), Standing("stacks", 90, 0)]) == {
        "RateLimit-Policy": '"address";q=600;w=60, "stacks";q=90',
        "RateLimit": '"address";r=42;t=17, "stacks";r=0',
    }


@pytest.mark.parametrize("said", ["600/minute", "30 per hour", "10/5minutes", "1/second", "off"])
def test_a_rate_is_said_as_people_say_it(said: str):
    limits(rate_per_address=said)


@pytest.mark.parametrize(
    "said", ["600", "0/minute", "600/fortnight", "1/second;5/minute", "-1/minute", "OFF", "a/minute"]
)
def test_a_rate_that_is_none_ends_the_start(said: str):
    with pytest.raises(
        SettingsError, match=r"^RATE_PER_ADDRESS must .*; for example RATE_PER_ADDRESS=600/minute or off$"
    ):
        settings(rate_per_address=said)


@pytest.mark.parametrize("url", ["redis:6379", "http://redis:6379", "redis://", "redis://:hush-hush@redis:port"])
def test_an_address_of_redis_that_is_none_ends_the_start(url: str):
    with pytest.raises(SettingsError, match=r"^REDIS_URL must be an address") as refused:
        settings(redis_url=url)
    assert "hush" not in str(refused.value)
