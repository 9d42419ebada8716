"""Limits: whose tries are counted together, and that those of addresses long gone are forgotten."""

import pytest
from fastapi import Request

from app.errors import PortalError
from app.web.limits import Limit


def request(address: str | None) -> Request:
    return Request({"type": "http", "headers": [], "client": (address, 1) if address else None})


def test_so_many_and_then_no_more():
    limit = Limit(2)
    for _ in range(2):
        limit.check(request("192.0.2.1"))
        limit.count(request("192.0.2.1"))

    with pytest.raises(PortalError) as refused:
        limit.check(request("192.0.2.1"))

    assert refused.value.code == "too_many_requests"
    assert 1 <= int(refused.value.params["seconds"]) <= 60
    limit.check(request("192.0.2.2"))


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        (None, None, True),
        ("not-an-address", "neither", False),
    ],
)
def test_who_is_counted_together(one: str | None, other: str | None, together: bool):
    limit = Limit(1)
    limit.count(request(one))

    if together:
        with pytest.raises(PortalError):
            limit.check(request(other))
    else:
        limit.check(request(other))


def test_limits_know_nothing_of_each_other():
    one, other = Limit(1), Limit(1)
    one.count(request("192.0.2.1"))

    other.check(request("192.0.2.1"))


def test_addresses_that_came_long_ago_are_forgotten():
    limit = Limit(10)
    for number in range(1000):
        limit.count(request(f"10.0.{number // 250}.{number % 250}"))
    events = limit._storage.events
    assert len(events) == 1000
    for key in events:
        events[key] = []  # as a minute leaves them

    limit.count(request("192.0.2.1"))

    assert len(events) == 1
