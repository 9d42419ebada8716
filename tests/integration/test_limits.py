"""Limits on real servers: whose requests are counted, together with whom, and what becomes of it while Redis is away."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.config.settings import Settings
from app.web.rate_limits import _REDIS_PAUSE
from tests.integration.test_pages import HTML, Page
from tests.servers import ADMIN_TOKEN, REDIS_PASSWORD, PortalServer, RedisServer, serve_redis
from tests.waiting import WAIT_SECONDS, wait_until

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
StartPortal = Callable[..., PortalServer]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with serve_redis(tmp_path) as server:
        yield server


def ask(portal: PortalServer, path: str = "/api/stacks", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return portal.client.get(path, headers=named)


def statuses(portal: PortalServer, count: int, **headers: str) -> list[int]:
    return [ask(portal, **headers).status_code for _ in range(count)]


def test_too_many_requests_are_refused_with_what_is_left_and_when_to_come_back(start_portal: StartPortal):
    portal = start_portal(rate_per_address="3/minute")

    first = ask(portal)
    assert first.headers["ratelimit-policy"] == '"address";q=3;w=60'
    assert first.headers["ratelimit"].startswith('"address";r=2;t=')
    assert statuses(portal, 2) == [200, 200]
    refused = ask(portal)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    seconds = int(refused.headers["retry-after"])
    assert 1 <= seconds <= 60
    assert refused.headers["ratelimit"] == f'"address";r=0;t={seconds}'
    assert refused.headers["ratelimit-policy"] == '"address";q=3;w=60'
    # A page says so as a page, with the same headers; a page that is answered has none.
    page = portal.client.get("/", headers=HTML)
    assert page.status_code == 429
    assert "Too many tries" in Page(page).words
    assert page.headers["ratelimit"].startswith('"address";r=0')
    # What a page is made of, and what a platform asks, is not counted.
    for path in ("/health", "/ready", "/static/portal.css"):
        free = ask(portal, path)
        assert free.status_code == 200
        assert "ratelimit" not in free.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no-such-page", 404),
        ("GET", "/api/no-such-thing", 404),
        ("GET", "/static/no-such-file", 404),
        ("DELETE", "/stacks", 405),
        ("POST", "/health", 405),
        ("HEAD", "/", 200),
        ("HEAD", "/no-such-page", 404),
        ("OPTIONS", "/api/stacks", 405),
    ],
)
def test_a_request_without_a_route_is_counted_like_any_other(
    start_portal: StartPortal, method: str, path: str, status: int
):
    portal = start_portal(rate_per_address="2/minute")

    assert [portal.client.request(method, path).status_code for _ in range(2)] == [status] * 2
    refused = portal.client.request(method, path, headers=HTML)

    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit"].startswith('"address";r=0;t=')
    assert "content-security-policy" in refused.headers
    if method != "HEAD":
        document = "problem+json" if path.startswith("/api/") else "text/html"
        assert document in refused.headers["content-type"]


def test_each_request_is_counted_once(start_portal: StartPortal):
    portal = start_portal(rate_per_address="9/minute")

    for left, path in enumerate(["/api/stacks", "/api/no-such-thing", "/api/stacks", "/api/deployments/nobody"]):
        assert ask(portal, path).headers["ratelimit"].startswith(f'"address";r={8 - left};t='), path
    portal.client.head("/static/portal.css")
    assert ask(portal).headers["ratelimit"].startswith('"address";r=4;t=')


def test_a_page_that_is_answered_says_nothing_of_limits(start_portal: StartPortal):
    page = start_portal(rate_per_address="3/minute").client.get("/", headers=HTML)

    assert page.status_code == 200
    assert "ratelimit" not in page.headers


@pytest.mark.parametrize(
    "path",
    [f"{form}/{verb}" for form in ("/stacks/ada", "/api/stack/ada") for verb in ("redeploy", "password")]
    + ["/deploy", "/api/deploy"],
)
def test_whatever_begins_a_deployment_is_counted_as_such(start_portal: StartPortal, path: str):
    portal = start_portal(deploy_rate_per_address="1/hour", rate_per_address="100/minute")

    portal.client.post(path)
    refused = portal.client.post(path)

    assert refused.status_code == 429
    assert refused.headers["ratelimit-policy"] == '"address";q=100;w=60, "deploy-address";q=1;w=3600'
    assert '"deploy-address";r=0' in refused.headers["ratelimit"]
    assert 60 < int(refused.headers["retry-after"]) <= 3600
    assert portal.client.get("/deploy").status_code == 303
    assert portal.client.post("/api/plan", json={"name": "ada"}).status_code == 200


def test_a_stranger_may_say_what_he_likes_of_where_he_comes_from(start_portal: StartPortal):
    portal = start_portal(rate_per_address="2/minute", forwarded_allow_ips="192.0.2.1")

    assert [ask(portal, x_forwarded_for=f"203.0.113.{each}").status_code for each in range(4)] == [200, 200, 429, 429]


def test_behind_a_listed_proxy_each_address_is_counted_by_itself(start_portal: StartPortal):
    portal = start_portal(rate_per_address="2/minute", forwarded_allow_ips="127.0.0.0/8")

    assert statuses(portal, 3, x_forwarded_for="203.0.113.1") == [200, 200, 429]
    assert statuses(portal, 3, x_forwarded_for="203.0.113.2") == [200, 200, 429]
    # What stands before the address that the proxy saw was written by the client.
    assert statuses(portal, 1, x_forwarded_for="203.0.113.99, 203.0.113.1") == [429]
    assert statuses(portal, 1, x_forwarded_for="2001:db8::1") == [200]
    assert statuses(portal, 2, x_forwarded_for="2001:db8::2") == [200, 429]


def patient(portal: PortalServer) -> PortalServer:
    """A portal that does not give Redis up on a busy machine, and counts alone then."""
    pool = portal._app.state.limits._counts._pool
    pool.timeout = WAIT_SECONDS
    pool.connection_kwargs |= {"socket_timeout": WAIT_SECONDS, "socket_connect_timeout": WAIT_SECONDS}
    return portal


def test_portals_on_one_redis_count_together(start_portal: StartPortal, redis: RedisServer):
    one, other = (patient(start_portal(rate_per_address="5/minute", redis_url=redis.url)) for _ in range(2))

    assert statuses(one, 3) == [200] * 3
    assert statuses(other, 3) == [200, 200, 429]
    assert statuses(one, 1) == [429]


def test_wrong_tokens_are_counted_together(start_portal: StartPortal, redis: RedisServer):
    portals = [patient(start_portal(redis_url=redis.url, wrong_credential_rate="10/minute")) for _ in range(2)]

    answers = [portals[each % 2].client.post("/sign-in", data={"token": "x" * 16}).status_code for each in range(12)]

    assert answers == [403] * 10 + [429] * 2


def wait_for_shared(portal: PortalServer, other: PortalServer) -> None:
    """Wait until what the one counts is seen by the other."""

    def left(of: PortalServer) -> int:
        return int(ask(of).headers["ratelimit"].split("r=")[1].split(";")[0])

    wait_until(lambda: left(portal) == left(other) + 1, tell=lambda: "Redis is not used again", pause=0.05)


def count_asking(portal: PortalServer) -> list[str]:
    """Write down from now on each time that a portal asks Redis; return the list."""
    asked: list[str] = []
    redis = portal._app.state.limits._counts._redis

    def counted(name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        def counts(*words: Any) -> Any:
            asked.append(name)
            return ask(*words)

        return counts

    for name in ("hit", "get_window_stats"):
        setattr(redis, name, counted(name, getattr(redis, name)))
    return asked


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_while_redis_is_away_each_portal_counts_its_own(
    start_portal: StartPortal, redis: RedisServer, how: str, capfd: pytest.CaptureFixture[str]
):
    values: dict[str, Any] = {"rate_per_address": "10000/hour", "redis_url": redis.url}
    one, other = (start_portal(**values) for _ in range(2))
    wait_for_shared(one, other)
    capfd.readouterr()

    redis.kill() if how == "killed" else redis.send(signal.SIGSTOP)
    asked, began = count_asking(one), time.monotonic()
    answers = [ask(one) for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert 1 <= len(asked) <= 2 + (time.monotonic() - began) / _REDIS_PAUSE, "it is asked now and then, not each time"
    assert '"address";r=9980;' in answers[-1].headers["ratelimit"], "its own memory counts"
    warnings = [line for line in capfd.readouterr().out.splitlines() if "limits_without_redis" in line]
    assert len(warnings) == 1
    assert REDIS_PASSWORD not in "".join(warnings)

    redis.start() if how == "killed" else redis.send(signal.SIGCONT)

    wait_for_shared(one, other)


def test_a_redis_that_was_never_there_keeps_nobody_out(start_portal: StartPortal, redis: RedisServer):
    redis.kill()
    portal = start_portal(rate_per_address="2/minute", redis_url=redis.url)

    assert statuses(portal, 3) == [200, 200, 429]


def test_a_password_that_redis_refuses_is_not_told(
    start_portal: StartPortal, redis: RedisServer, capfd: pytest.CaptureFixture[str]
):
    portal = start_portal(rate_per_address="2/minute", redis_url=redis.url.replace(REDIS_PASSWORD, "another-canary"))

    assert statuses(portal, 3) == [200, 200, 429]
    said = capfd.readouterr()
    assert "limits_without_redis" in said.out
    assert "canary" not in said.out + said.err
    assert "canary" not in repr(portal.settings)


def test_a_page_that_polls_and_a_stream_that_comes_back_fit_the_defaults(start_portal: StartPortal):
    """A minute of it, twice as often as a page does any of these, and all at once."""
    before = start_portal()
    deployment = before.deploy("ada")["deploymentId"]
    before.wait(deployment)
    before.stop()
    default = {name: Settings.model_fields[name].default for name in ("rate_per_address", "rate_per_actor")}
    portal = start_portal(**default)

    for _ in range(60):
        assert len(portal.events(deployment)) > 0
        assert ask(portal, f"/api/deployments/{deployment}/events", last_event_id="99").status_code == 204
        assert ask(portal, f"/deployments/{deployment}", accept="text/html").status_code == 200
