"""Who may use which route: every route, for every kind of caller, with and without accounts."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from app.identity import Scope
from app.main import create_app
from app.web.auth.authorization import RULES, routes_of
from tests.integration.access import CLOSED, CLOSED_CALLERS, OPEN, OPEN_CALLERS
from tests.integration.test_http import OPERATOR
from tests.integration.test_pages import HTML
from tests.integration.test_ways_in import issuer, sign_in, start_closed  # noqa: F401 - fixtures
from tests.servers import ADMIN_TOKEN, HERE, Emulator, PortalServer, http_client, portal_settings
from tests.waiting import wait_until

Headers = dict[str, str]
# Longer than any machine takes for all the questions, in seconds.
LONG = 3600
OWN = [scope.value for scope in Scope if scope is not Scope.ADMIN]
# What would change something is asked for so that it is refused once it is allowed: what is asked then shows that.
BODIES: Mapping[str, dict[str, Any]] = {
    "POST /api/plan": {"json": {"name": "planned"}},
    "POST /api/deploy": {"json": {"name": "x"}},
    "POST /api/tokens": {"json": {"name": "x", "scopes": []}},
    "POST /api/take-over": {"json": {"code": "x"}},
    "DELETE /api/stack/{name}": {"headers": {"prefer": "wait=never"}},
}


class World:
    """A stack that is busy, deployments of it, files that were kept, and everybody who may want something of them."""

    def __init__(self, portal: PortalServer, owner: Headers, emulator: Emulator) -> None:
        self.portal = portal
        self.owner = owner
        self.kept: dict[str, str] = {}
        client = portal.client
        made = client.post("/api/deploy", json={"name": "ada"}, headers=owner).json()
        self.key = {"authorization": f"Bearer {made['manageKey']}"}
        self.deployment = made["deploymentId"]
        self.wait(made["deploymentId"])

    def wait(self, deployment_id: str) -> None:
        path = f"/api/deployments/{deployment_id}"
        wait_until(lambda: self.portal.client.get(path, headers=OPERATOR).json()["conclusion"], pause=0.02)

    def make_busy(self, emulator: Emulator) -> None:
        """From now on nothing else may change the stack."""
        emulator.fault("stuck", seconds=LONG)
        answer = self.portal.client.post("/api/stack/ada/redeploy", headers=self.owner)
        assert answer.status_code == 202, answer.text

    def keep_files(self, callers: Iterable[str]) -> None:
        """Files of stacks of the owner's that are gone, one for each caller to erase."""
        self.kept = {principal: f"kept-{number}" for number, principal in enumerate(callers)}
        made = [
            self.portal.client.post("/api/deploy", json={"name": name}, headers=self.owner).json()["deploymentId"]
            for name in self.kept.values()
        ]
        for deployment in made:
            self.wait(deployment)
        for name in self.kept.values():
            gone = self.portal.client.delete(f"/api/stack/{name}?volume=keep", headers=self.owner)
            assert gone.json()["removed"], gone.text

    def token(self, *scopes: str, maker: Headers | None = None) -> Headers:
        body = {"name": "x", "scopes": list(scopes)}
        made = self.portal.client.post("/api/tokens", json=body, headers=maker or self.owner)
        assert made.status_code == 201, made.text
        return {"authorization": f"Bearer {made.json()['token']}"}

    def ask(self, route: str, who: str, headers: Headers) -> int:
        method, path = route.split()
        name = self.kept.get(who, "nobodys") if "erase" in path else "ada"
        path = path.replace("{deployment_id}", self.deployment).replace("{name:text}", "free").replace("{name}", name)
        path = path.replace("{token_id}", "01JD0000000000000000000000")
        asked = BODIES.get(route, {})
        more = {"follow": "false"} if path.endswith("/events") else {}
        page = {} if "/api/" in path else HTML
        answer = self.portal.client.request(
            method, path, params=more, **{**asked, "headers": {**page, **headers, **asked.get("headers", {})}}
        )
        return answer.status_code


def seen(world: World, callers: Mapping[str, Headers], routes: list[str]) -> dict[str, dict[str, int]]:
    return {route: {who: world.ask(route, who, headers) for who, headers in callers.items()} for route in routes}


def in_order(table: Mapping[str, Any]) -> list[str]:
    """What ends sessions comes last."""
    return sorted(table, key=lambda route: ("sign-out" in route, "everywhere" not in route))


def test_no_route_is_without_a_decision_and_none_is_decided_that_is_not_there():
    application = create_app(portal_settings("http://127.0.0.1:1", "sqlite+aiosqlite:///x.db"))

    assert set(routes_of(application)) == set(RULES) == set(OPEN) == set(CLOSED)


def cookie_of(client: httpx.Client) -> Headers:
    return {**HERE, "cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}


@pytest.fixture
def browsers(start_portal: Callable[..., PortalServer]) -> Iterator[Callable[[PortalServer], httpx.Client]]:
    with ExitStack() as stack:

        def browser(portal: PortalServer) -> httpx.Client:
            return stack.enter_context(http_client(base_url=portal.url, headers={**HTML, **HERE}))

        yield browser


def test_every_route_for_every_caller_without_accounts(
    start_portal: Callable[..., PortalServer], emulator: Emulator, browsers: Callable[[PortalServer], httpx.Client]
):
    portal = start_portal(deploy_timeout_seconds=LONG)
    one, other, operator = (browsers(portal) for _ in range(3))
    one.post("/deploy", data={"name": "first"})
    other.post("/deploy", data={"name": "second"})
    operator.post("/sign-in", data={"token": ADMIN_TOKEN})
    world = World(portal, cookie_of(one), emulator)
    callers = dict(
        zip(
            OPEN_CALLERS,
            (
                {},
                cookie_of(other),
                cookie_of(one),
                {"authorization": "Bearer asd_wrong"},
                world.key,
                world.token("stack:read"),
                world.token(*OWN),
                OPERATOR,
                cookie_of(operator),
            ),
            strict=True,
        )
    )
    world.keep_files(callers)
    world.make_busy(emulator)

    table = seen(world, callers, in_order(OPEN))

    assert table == {route: dict(zip(OPEN_CALLERS, OPEN[route], strict=True)) for route in in_order(OPEN)}


def test_every_route_for_every_caller_with_accounts(
    start_closed: Callable[..., PortalServer],  # noqa: F811
    emulator: Emulator,
    browsers: Callable[[PortalServer], httpx.Client],
):
    portal = start_closed(deploy_timeout_seconds=LONG)
    ada, bob, olga = (browsers(portal) for _ in range(3))
    for browser, who in ((ada, "ada"), (bob, "bob"), (olga, "olga")):
        sign_in(browser, who)
    world = World(portal, cookie_of(ada), emulator)
    callers = dict(
        zip(
            CLOSED_CALLERS,
            (
                {},
                cookie_of(bob),
                cookie_of(ada),
                {"authorization": "Bearer asd_wrong"},
                world.token("stack:read"),
                world.token(*OWN),
                cookie_of(olga),
                world.token("admin", maker=cookie_of(olga)),
            ),
            strict=True,
        )
    )
    world.keep_files(callers)
    world.make_busy(emulator)

    table = seen(world, callers, in_order(CLOSED))

    assert table == {route: dict(zip(CLOSED_CALLERS, CLOSED[route], strict=True)) for route in in_order(CLOSED)}
