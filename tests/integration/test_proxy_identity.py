"""Who a proxy says that it is: believed by the address of the connection alone, and whole or not at all."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from app.config.settings import load_settings
from app.web import error_handlers
from app.web.auth.proxy import claims_of
from app.web.middleware.peer import Peer
from tests.servers import PortalServer

pytestmark = pytest.mark.anyio

PROXY, STRANGER = "10.0.1.5", "203.0.113.9"
ADA = {
    "remote-user": "ada",
    "remote-email": "ada@example.com",
    "remote-name": "Ada Lovelace",
    "remote-groups": "developers, admins,,",
}
CLAIMS = {
    "issuer": "proxy",
    "subject": "ada",
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "email_verified": True,
    "groups": ["developers", "admins"],
}

Headers = dict[str, str] | list[tuple[str, bytes]]


def site(**values: Any) -> FastAPI:
    app = FastAPI()
    settings = load_settings(
        _env_file=None,
        **{
            "app_env": "development",
            "dokploy_url": "http://dokploy:3000",
            "dokploy_api_token": "a-key",
            "stack_domain_suffix": "ai.example.com",
            "stack_image": "image:1",
            "auth_mode": "proxy",
            "proxy_auth_addresses": f"{PROXY}, 2001:db8:1::/64",
            **values,
        },
    )
    app.state.settings = settings
    error_handlers.install(app)

    @app.get("/")
    async def who(request: Request) -> Any:
        claims = claims_of(request)
        client = request.client.host if request.client else None
        return JSONResponse({"claims": vars(claims) if claims else None, "client": client})

    app.add_middleware(Peer, believed=settings.forwarded_allow_ips)
    return app


async def ask(headers: Headers, peer: str = PROXY, app: FastAPI | None = None, **values: Any) -> httpx.Response:
    pairs = [(name, value.encode()) for name, value in headers.items()] if isinstance(headers, dict) else headers
    raw = [(name.encode(), value) for name, value in pairs]
    transport = httpx.ASGITransport(app or site(**values), client=(peer, 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://portal") as client:
        return await client.get("/", headers=raw)


async def test_the_proxy_is_believed():
    assert (await ask(ADA)).json()["claims"] == CLAIMS


@pytest.mark.parametrize("peer", [PROXY, "2001:db8:1::7", f"::ffff:{PROXY}"])
async def test_whoever_is_listed_is_believed(peer: str):
    assert (await ask(ADA, peer)).json()["claims"] == CLAIMS


@pytest.mark.parametrize(
    "peer", [STRANGER, "10.0.1.6", "127.0.0.1", "2001:db8:2::7", "::ffff:10.0.1.6", "", "testclient", "10.0.1.5 "]
)
async def test_nobody_else_is(peer: str):
    assert (await ask(ADA, peer)).json()["claims"] is None


@pytest.mark.parametrize("believed", [STRANGER, "*", PROXY])
async def test_the_connection_counts_and_not_what_is_said_of_it(believed: str):
    """A stranger says that he is the proxy's address, and is even believed to be behind it."""
    answer = await ask({**ADA, "x-forwarded-for": PROXY}, STRANGER, forwarded_allow_ips=believed)

    assert answer.json() == {"claims": None, "client": STRANGER if believed == PROXY else PROXY}


async def test_who_is_behind_the_proxy_is_still_the_client():
    answer = await ask({**ADA, "x-forwarded-for": STRANGER}, forwarded_allow_ips=PROXY)

    assert answer.json() == {"claims": CLAIMS, "client": STRANGER}


async def test_a_token_counts_alone():
    for scheme in ("Bearer", "bearer"):
        assert (await ask({**ADA, "authorization": f"{scheme} something"})).json()["claims"] is None
    assert (await ask({**ADA, "authorization": "Basic something"})).json()["claims"] == CLAIMS


@pytest.mark.parametrize(
    "headers", [{}, {"remote-email": "ada@example.com"}, {"remote-user": ""}, {"remote_user": "ada"}]
)
async def test_without_a_user_it_is_nobody(headers: dict[str, str]):
    assert (await ask(headers)).json()["claims"] is None


async def test_a_user_alone_is_enough():
    claims = (await ask({"remote-user": "ada"})).json()["claims"]

    assert claims == {**dict.fromkeys(CLAIMS), "issuer": "proxy", "subject": "ada", "groups": []}


async def test_headers_of_another_name():
    names: dict[str, Any] = {
        f"proxy_auth_{part}_header": f"X-Auth-Request-{part}" for part in ("user", "email", "name", "groups")
    }
    headers = {name.replace("remote", "x-auth-request"): value for name, value in ADA.items()}

    assert (await ask(headers, **names)).json()["claims"] == CLAIMS
    assert (await ask(ADA, **names)).json()["claims"] is None


async def test_a_name_in_another_alphabet():
    name = "Ада Лавлейс"

    claims = (await ask([("remote-user", b"ada"), ("remote-name", name.encode())])).json()["claims"]

    assert claims["name"] == name


@pytest.mark.parametrize("header", sorted(ADA))
@pytest.mark.parametrize(
    "spoil",
    [
        lambda name, value: [(name, value), (name, b"root")],
        lambda name, value: [(name, value), (name.title(), value)],
        lambda name, _: [(name, b"\xff\xfe")],
        lambda name, _: [(name, b"a\x1b[31m")],
        lambda name, _: [(name, "a\u202eb".encode())],
        lambda name, _: [(name, b"a" * 8001)],
    ],
)
async def test_what_is_not_whole_is_refused(header: str, spoil: Callable[[str, bytes], list[tuple[str, bytes]]]):
    headers: list[tuple[str, bytes]] = []
    for name, value in ADA.items():
        headers += spoil(name, value.encode()) if name == header else [(name, value.encode())]

    with structlog.testing.capture_logs() as logs:
        answer = await ask(headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "sign_in_failed")
    (line,) = logs
    assert header in line["why"].lower()
    assert "\x1b" not in str(logs)


@pytest.mark.parametrize("header", ["remote-user", "remote-email", "remote-name"])
async def test_a_long_one_is_refused_and_many_groups_are_not(header: str):
    assert (await ask({**ADA, header: "a" * 300})).status_code == 200
    assert (await ask({**ADA, header: "a" * 301})).status_code == 400
    groups = [f"group-{number}" for number in range(500)]
    assert (await ask({**ADA, "remote-groups": ",".join(groups)})).json()["claims"]["groups"] == groups


async def test_what_a_stranger_sends_twice_is_not_even_looked_at():
    assert (await ask([("remote-user", b"ada"), ("remote-user", b"root")], STRANGER)).json()["claims"] is None


# A proxy that nobody told the portal of


async def test_a_proxy_that_is_not_listed_is_told_once():
    app = site(forwarded_allow_ips="10.0.0.0/24,192.0.2.1")
    with structlog.testing.capture_logs() as logs:
        await ask({}, STRANGER, app)
        await ask({"x-forwarded-for": "198.51.100.1"}, "10.0.0.9", app)
        assert not logs
        for _ in range(3):
            await ask({"x-forwarded-for": "198.51.100.1"}, STRANGER, app)

    (line,) = logs
    assert (line["event"], line["peer"], line["log_level"]) == ("forwarded_not_believed", STRANGER, "warning")
    assert "FORWARDED_ALLOW_IPS" in line["hint"]


@pytest.mark.parametrize(("believed", "told"), [("127.0.0.1", False), ("10.0.0.0/8", True)])
def test_a_portal_believes_and_reports_a_proxy_by_forwarded_allow_ips(
    start_portal: Callable[..., PortalServer], believed: str, told: bool
):
    portal = start_portal(forwarded_allow_ips=believed)
    with structlog.testing.capture_logs() as logs:
        page = portal.client.get("/", headers={"x-forwarded-for": STRANGER, "x-forwarded-proto": "https"}).text
        wrong = portal.client.post("/sign-in", data={"token": "wrong"}, headers={"x-forwarded-for": STRANGER})

    assert wrong.status_code == 403
    assert [line["event"] for line in logs].count("forwarded_not_believed") == told
    (refused,) = [line for line in logs if line["event"] == "sign_in_refused"]
    assert refused["address"] == ("127.0.0.1" if told else STRANGER)
    assert ("https://127.0.0.1" in page) is not told
