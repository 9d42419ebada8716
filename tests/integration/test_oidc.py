"""Signing in at an OpenID provider: at a real one, and at one that lies in every way that a token can."""

import asyncio
import hmac
import json
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from joserfc.jwk import ECKey, RSAKey

from app.config.settings import Settings, load_settings
from app.errors import PortalError
from app.security.vault import Vault
from app.web import error_handlers
from app.web.auth.oidc import CALLBACK, Oidc
from app.web.auth.provider import Provider
from app.web.deps import forget_signing_in, language_of
from app.web.problems import problem_response
from tests.ports import reserve_port
from tests.providers import (
    CLIENT_ID,
    ScriptedProvider,
    press,
    serve_provider,
    serve_scripted_provider,
)
from tests.servers import AMPLE_SECONDS
from tests.waiting import WAIT_SECONDS

pytestmark = pytest.mark.anyio

PORTAL = "http://deploy.example.com"
ADA = {"email": "ada@example.com", "email_verified": True, "name": "Ada", "groups": ["developers", "admins"]}
BEGIN = "/begin?next=/stacks/ada%3Flang=nl"

Clock = Callable[[], float]
Start = Callable[..., Any]


def settings_for(issuer: str, **values: Any) -> Settings:
    return load_settings(
        _env_file=None,
        **{
            "app_env": "development",
            "dokploy_url": "http://dokploy:3000",
            "dokploy_api_token": "a-key",
            "stack_domain_suffix": "ai.example.com",
            "stack_image": "image:1",
            "auth_mode": "oidc",
            "portal_url": PORTAL,
            "oidc_issuer": issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": "s3cret of:the+client",
            "oidc_timeout_seconds": 60,
            "allowed_groups": "developers",
            **values,
        },
    )


def site(
    settings: Settings,
    *,
    clock: Clock = time.time,
    keys: str = "a-key-that-is-only-for-tests",
    pause: float = 2.0,
) -> FastAPI:
    """The rooms as routes use them. `pause`: as in Provider."""
    app = FastAPI()
    app.state.settings = settings
    error_handlers.install(app)
    provider = Provider(settings, pause=pause)
    oidc = Oidc(settings, Vault([keys], clock=clock), provider=provider)

    @app.get("/begin")
    async def begin(request: Request) -> Response:
        return await oidc.begin(request, request.query_params.get("next", "/"))

    @app.get(CALLBACK)
    async def callback(request: Request) -> Response:
        response: Response
        try:
            claims, go_on = await oidc.finish(request)
        except PortalError as error:
            response = problem_response(error, language_of(request))
        else:
            response = JSONResponse({"claims": vars(claims), "next": go_on})
        forget_signing_in(request, response)
        return response

    @app.get("/end")
    async def end() -> Any:
        return await oidc.end_address()

    return app


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a browser at a portal of its own, or at one that is given."""
    async with AsyncExitStack() as stack:

        async def run(issuer: str = "", app: FastAPI | None = None, base: str = PORTAL, **values: Any) -> Any:
            pause = {"pause": values.pop("pause")} if "pause" in values else {}
            transport = httpx.ASGITransport(app or site(settings_for(issuer, **values), **pause))
            return await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url=base))

        yield run


@pytest.fixture
def liar() -> Iterator[ScriptedProvider]:
    with serve_scripted_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def real() -> Iterator[str]:
    with serve_provider({"ada": ADA}) as issuer:
        yield issuer


async def begin(browser: httpx.AsyncClient, path: str = BEGIN) -> str:
    answer = await browser.get(path)
    assert answer.status_code == 303, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.headers["location"])


def refused(answer: httpx.Response, code: str = "sign_in_failed") -> dict[str, Any]:
    """Expect a problem, and that whatever happened the cookie is gone."""
    assert answer.status_code == {"sign_in_failed": 400, "provider_away": 503}[code], answer.text
    document: dict[str, Any] = answer.json()
    assert document["code"] == code
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert not answer.request.headers.get("cookie") or "asd_signing_in" not in "".join(answer.cookies)
    return document


async def lied_to(browser: httpx.AsyncClient, liar: ScriptedProvider, **more: str) -> tuple[httpx.Response, str]:
    """Sign in at the liar; gives the answer and what the log says of it."""
    callback = liar.let_in(await begin(browser), **more)
    with structlog.testing.capture_logs() as logs:
        answer = await browser.get(callback)
    return answer, "\n".join(json.dumps(line) for line in logs)


# At a real provider


async def test_signing_in_tells_who_it_is_and_goes_on(real: str, start: Start):
    browser = await start(real)
    callback = press(await begin(browser), sub="ada")

    answer = await browser.get(callback)

    assert answer.json() == {
        "claims": {
            "issuer": real,
            "subject": "ada",
            "name": "Ada",
            "email": "ada@example.com",
            "email_verified": True,
            "groups": ["developers", "admins"],
        },
        "next": "/stacks/ada?lang=nl",
    }
    assert not browser.cookies


async def test_saying_no_at_the_provider(real: str, start: Start):
    browser = await start(real)
    callback = press(await begin(browser), action="deny")

    # This one leaves the state out, which the standard wants back.
    refused(await browser.get(callback))


async def test_an_answer_counts_once(real: str, start: Start):
    browser = await start(real)
    await begin(browser)
    kept = dict(browser.cookies)
    callback = press(await begin(browser), sub="ada")
    copy = dict(browser.cookies)
    assert (await browser.get(callback)).status_code == 200

    refused(await browser.get(callback))
    browser.cookies.update(copy)
    refused(await browser.get(callback))
    browser.cookies.update(kept)
    refused(await browser.get(callback))


async def test_another_browser_cannot_use_the_answer(real: str, start: Start):
    mine, other = await start(app=(portal := site(settings_for(real)))), await start(app=portal)
    callback = press(await begin(mine), sub="ada")

    refused(await other.get(callback))
    await begin(other)
    refused(await other.get(callback))


async def test_the_provider_signs_out_and_sends_back(real: str, start: Start):
    browser = await start(real)

    address = (await browser.get("/end")).json()

    assert urlsplit(address).path == "/oauth2/end_session"
    assert dict(parse_qsl(urlsplit(address).query)) == {
        "client_id": CLIENT_ID,
        "post_logout_redirect_uri": f"{PORTAL}/",
    }
    async with httpx.AsyncClient(timeout=WAIT_SECONDS, trust_env=False, verify=False) as plain:
        assert f'value="{PORTAL}/"' in (await plain.get(address)).text, "it sends back to here"


async def test_a_token_that_has_expired(start: Start):
    with serve_provider({"ada": ADA}, seconds=-120) as issuer:
        browser = await start(issuer)
        callback = press(await begin(browser), sub="ada")

        with structlog.testing.capture_logs() as logs:
            refused(await browser.get(callback))
    assert "expired" in str(logs)


async def test_groups_come_from_the_claim_that_is_set(start: Start):
    with serve_provider({"ada": {**ADA, "groups": ["other"], "roles": ["admins", 7, None, "", "x\ny"]}}) as issuer:
        browser = await start(issuer, oidc_groups_claim="roles")
        answer = await browser.get(press(await begin(browser), sub="ada"))

    assert answer.json()["claims"]["groups"] == ["admins"]


# What is asked, and what is kept


async def test_what_is_asked_of_the_provider(liar: ScriptedProvider, start: Start):
    browser = await start(liar.issuer, oidc_scopes="openid email groups")
    first, second = await begin(browser), await begin(browser)

    asked = dict(parse_qsl(urlsplit(first).query))
    assert first.startswith(f"{liar.issuer}/authorization?")
    assert asked["response_type"] == "code"
    assert asked["redirect_uri"] == f"{PORTAL}/sign-in/callback"
    assert asked["scope"] == "openid email groups"
    assert asked["client_id"] == CLIENT_ID
    assert asked["code_challenge_method"] == "S256"
    again = dict(parse_qsl(urlsplit(second).query))
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name]) >= 32
        assert asked[name] != again[name]
    assert liar.paths().count("/.well-known/openid-configuration") == 1, "its description is kept"


async def test_the_cookie_is_sealed_short_lived_and_this_hosts_own(liar: ScriptedProvider, start: Start):
    settings = settings_for(liar.issuer).model_copy(update={"app_env": "production"})
    browser = await start(app=site(settings), base="https://deploy.example.com")
    answer = await browser.get(BEGIN)

    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-asd_signing_in=")
    for part in ("Max-Age=600", "Path=/", "HttpOnly", "Secure", "SameSite=lax"):
        assert part in cookie
    asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert asked["state"] not in cookie
    assert len(cookie) < 4096
    callback = liar.let_in(answer.headers["location"]).replace("http://deploy", "https://deploy")
    assert (await browser.get(callback)).status_code == 200


@pytest.mark.parametrize(("later", "works"), [(590, True), (660, False)])
async def test_whoever_takes_too_long_begins_again(liar: ScriptedProvider, start: Start, later: int, works: bool):
    shift = 0.0
    browser = await start(app=site(settings_for(liar.issuer), clock=lambda: time.time() + shift))
    callback = liar.let_in(await begin(browser))

    shift = later
    assert (await browser.get(callback)).status_code == (200 if works else 400)


@pytest.mark.parametrize("cookie", ["", "x", "gAAAAA==", "é".encode().decode("latin-1")])
async def test_a_forged_cookie(liar: ScriptedProvider, start: Start, cookie: str):
    browser = await start(liar.issuer)
    callback = liar.let_in(await begin(browser))
    browser.cookies.clear()

    refused(await browser.get(callback, headers={"cookie": f"asd_signing_in={cookie}".encode("latin-1")}))
    assert "/token" not in liar.paths()


async def test_a_cookie_of_another_portal(liar: ScriptedProvider, start: Start):
    theirs = await start(app=site(settings_for(liar.issuer), keys="the-key-of-another-portal"))
    callback = liar.let_in(await begin(theirs))
    mine = await start(liar.issuer)
    mine.cookies.update(theirs.cookies)

    refused(await mine.get(callback))


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "/a\nb", "/" + "a" * 2000],
)
async def test_nobody_is_sent_on_to_another_site(liar: ScriptedProvider, start: Start, elsewhere: str):
    browser = await start(liar.issuer)
    answer = await browser.get("/begin", params={"next": elsewhere})
    done = await browser.get(liar.let_in(answer.headers["location"]))

    assert done.json()["next"] == "/"


async def test_the_client_shows_who_it_is_as_the_provider_wants(liar: ScriptedProvider, start: Start):
    def forms() -> list[tuple[str | None, str | None]]:
        return [
            (headers.get("authorization"), form.get("client_secret"))
            for path, headers, form in liar.asked
            if path == "/token"
        ]

    for methods, secret in ((None, "s3cret of:the+client"), (["client_secret_post"], "s3cret"), (["none"], None)):
        liar.description = {"token_endpoint_auth_methods_supported": methods}
        browser = await start(liar.issuer, oidc_client_secret=secret)
        assert (await lied_to(browser, liar))[0].status_code == 200
    assert forms() == [
        # Each part is encoded as in a form, and then both together.
        ("Basic cG9ydGFsOnMzY3JldCUyMG9mJTNBdGhlJTJCY2xpZW50", None),
        (None, "s3cret"),
        (None, None),
    ]


# Answers that are not for this signing in


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.copy_set_param("state", "another"),
        lambda url: url.copy_set_param("state", ""),
        lambda url: url.copy_set_param("state", "é"),
        lambda url: url.copy_remove_param("state"),
        lambda url: url.copy_add_param("state", "another"),
        lambda url: url.copy_add_param("code", "another"),
        lambda url: url.copy_remove_param("code"),
        lambda url: url.copy_set_param("code", ""),
        lambda url: url.copy_set_param("code", "c" * 5000),
        lambda url: url.copy_set_param("iss", "https://evil.example"),
        lambda url: url.copy_set_param("iss", ""),
    ],
)
async def test_an_answer_that_does_not_fit(
    liar: ScriptedProvider, start: Start, change: Callable[[httpx.URL], httpx.URL]
):
    browser = await start(liar.issuer)
    callback = liar.let_in(await begin(browser))

    refused(await browser.get(change(httpx.URL(callback))))
    assert "/token" not in liar.paths()


async def test_a_code_of_another_signing_in(liar: ScriptedProvider, start: Start):
    browser = await start(liar.issuer)
    stolen = dict(httpx.URL(liar.let_in(await begin(browser))).params)["code"]
    callback = liar.let_in(await begin(browser))

    refused(await browser.get(httpx.URL(callback).copy_set_param("code", stolen)))


async def test_a_provider_that_promises_to_name_itself_must_do_so(liar: ScriptedProvider, start: Start):
    liar.description = {"authorization_response_iss_parameter_supported": True}
    browser = await start(liar.issuer)

    refused((await lied_to(browser, liar))[0])
    assert (await lied_to(browser, liar, iss=liar.issuer))[0].status_code == 200


async def test_what_the_provider_says_of_an_error_is_never_shown(liar: ScriptedProvider, start: Start):
    browser = await start(liar.issuer)
    hostile = "<script>alert(1)</script>\x1b[31m" + "A" * 100_000

    answer, logged = await lied_to(browser, liar, error=hostile[:3000], error_description=hostile[:30_000])

    refused(answer)
    assert "script" not in answer.text
    assert "\\u001b" not in logged
    assert "\x1b" not in logged
    assert len(logged) < 2000
    assert "the provider says no" in logged
    assert "/token" not in liar.paths()


# Tokens that lie


def unsigned(claims: dict[str, Any], **header: str) -> str:
    parts = [
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", **header}, claims)
    ]
    return ".".join([*parts, ""])


LIES: dict[str, Callable[[ScriptedProvider], Any]] = {
    "expired": lambda liar: liar.claims.update(exp=int(time.time()) - 120),
    "without an end": lambda liar: liar.claims.update(exp=None),
    "an end that is no time": lambda liar: liar.claims.update(exp="tomorrow"),
    "of tomorrow": lambda liar: liar.claims.update(iat=int(time.time()) + 86400),
    "not valid yet": lambda liar: liar.claims.update(nbf=int(time.time()) + 3600),
    "for another": lambda liar: liar.claims.update(aud="another"),
    "for another, of us": lambda liar: liar.claims.update(aud="another", azp=CLIENT_ID),
    "for nobody": lambda liar: liar.claims.update(aud=None),
    "for no list": lambda liar: liar.claims.update(aud=[]),
    "for us and another, of nobody": lambda liar: liar.claims.update(aud=[CLIENT_ID, "another"]),
    "for us and another, of the other": lambda liar: liar.claims.update(aud=[CLIENT_ID, "another"], azp="another"),
    "for us, of another": lambda liar: liar.claims.update(azp="another"),
    "of another issuer": lambda liar: liar.claims.update(iss="https://evil.example"),
    "of the issuer with a slash": lambda liar: liar.claims.update(iss=liar.issuer + "/"),
    "of no issuer": lambda liar: liar.claims.update(iss=None),
    "with another nonce": lambda liar: liar.claims.update(nonce="another"),
    "without a nonce": lambda liar: liar.claims.update(nonce=None),
    "without a nonce that it knows": lambda liar: liar.claims.update(nonce=None, nonce_supported=False),
    "with a nonce that is a list": lambda liar: liar.claims.update(nonce=["x"]),
    "without a subject": lambda liar: liar.claims.update(sub=None),
    "with an empty subject": lambda liar: liar.claims.update(sub=""),
    "with a subject that is a number": lambda liar: liar.claims.update(sub=7),
    "with a long subject": lambda liar: liar.claims.update(sub="a" * 301),
    "with a subject of two lines": lambda liar: liar.claims.update(sub="ada\nroot"),
    "with another access token": lambda liar: liar.claims.update(at_hash="another"),
    "signed by another key": lambda liar: setattr(liar, "key", RSAKey.generate_key(2048, {"kid": "one"})),
    "signed by a key that is not known": lambda liar: liar.header.update(kid="two"),
    "unsigned": lambda liar: setattr(liar, "token", unsigned),
    "cut": lambda liar: setattr(liar, "token", lambda claims: liar.sign(claims)[:-9]),
    "with other claims": lambda liar: setattr(liar, "token", lambda claims: with_other_claims(liar.sign(claims))),
    "no token": lambda liar: setattr(liar, "token", lambda _: "no token"),
    "empty": lambda liar: setattr(liar, "token", lambda _: ""),
    "not even text": lambda liar: setattr(liar, "token", lambda _: 7),
    "signed with the public key as a secret": lambda liar: sign_with_public_key(liar),
    "signed in a way that it does not do": lambda liar: sign_with_curve(liar),
}


def with_other_claims(token: str) -> str:
    header, _, signature = token.split(".")
    forged = unsigned({"sub": "root"}).split(".")[1]
    return f"{header}.{forged}.{signature}"


def sign_with_public_key(liar: ScriptedProvider) -> None:
    """The library would not do this, so it is done by hand."""
    secret = liar.keys[0].as_pem(private=False)

    def sign(claims: dict[str, Any]) -> str:
        head, payload, _ = unsigned(claims, alg="HS256", kid="one").split(".")
        signature = hmac.digest(secret, f"{head}.{payload}".encode(), "sha256")
        return f"{head}.{payload}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    liar.token = sign
    liar.description["id_token_signing_alg_values_supported"] = ["RS256", "HS256", "none"]


def sign_with_curve(liar: ScriptedProvider) -> None:
    liar.key = ECKey.generate_key("P-256", {"kid": "curve"})
    liar.keys.append(liar.key)
    liar.header.update(alg="ES256", kid="curve")


@pytest.mark.parametrize("lie", LIES)
async def test_a_token_that_does_not_hold(liar: ScriptedProvider, start: Start, lie: str):
    LIES[lie](liar)
    browser = await start(liar.issuer)

    answer, logged = await lied_to(browser, liar)

    refused(answer)
    assert logged.count("sign_in_failed") == 1
    assert "an-access-token" not in logged
    assert "ada@example.com" not in answer.text + logged
    assert "/userinfo" not in liar.paths()


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID},
        {"exp": int(time.time()) + 86400},
        {"iat": int(time.time()) + 30},
    ],
)
async def test_a_token_that_holds(liar: ScriptedProvider, start: Start, claims: dict[str, Any]):
    liar.claims = claims
    browser = await start(liar.issuer)

    answer, logged = await lied_to(browser, liar)

    assert answer.json()["claims"]["subject"] == "ada"
    assert logged == ""
    assert "/userinfo" not in liar.paths(), "nothing was missing"


async def test_keys_that_were_changed_are_read_again(liar: ScriptedProvider, start: Start):
    browser = await start(liar.issuer)
    assert (await lied_to(browser, liar))[0].status_code == 200
    assert (await lied_to(browser, liar))[0].status_code == 200
    assert liar.paths().count("/jwks") == 1

    liar.key = RSAKey.generate_key(2048, {"kid": "newer"})
    liar.keys = [liar.key]
    liar.header = {"alg": "RS256", "kid": "newer"}
    assert (await lied_to(browser, liar))[0].status_code == 200
    assert liar.paths().count("/jwks") == 2


async def test_a_provider_that_signs_with_a_curve(liar: ScriptedProvider, start: Start):
    sign_with_curve(liar)
    liar.description = {"id_token_signing_alg_values_supported": ["ES256", "RS256"]}

    assert (await lied_to(await start(liar.issuer), liar))[0].status_code == 200


async def test_keys_that_nobody_knows_do_not_spoil_the_others(liar: ScriptedProvider, start: Start):
    keys = [liar.keys[0].as_dict(private=False)]
    strange = [{"kty": "LATTICE"}, {"kty": "EC", "crv": "P-0"}, {"kty": "RSA"}, {"kty": "oct", "k": "eA", "kid": "one"}]
    liar.bodies["/jwks"] = json.dumps({"keys": [*strange, *keys]}).encode()
    browser = await start(liar.issuer)

    assert (await lied_to(browser, liar))[0].status_code == 200


# What the ID token leaves out


async def test_what_the_token_lacks_is_asked_for(liar: ScriptedProvider, start: Start):
    liar.claims = {"email": None, "email_verified": None, "groups": None, "name": None}
    liar.userinfo = {"sub": "ada", "email": "ada@example.com", "email_verified": "true", "groups": "developers"}
    browser = await start(liar.issuer)

    claims = (await lied_to(browser, liar))[0].json()["claims"]

    assert (claims["email"], claims["email_verified"], claims["groups"]) == ("ada@example.com", True, ["developers"])
    headers = next(headers for path, headers, _ in liar.asked if path == "/userinfo")
    assert headers["authorization"] == "Bearer an-access-token"


async def test_groups_that_decide_nothing_are_not_asked_for(liar: ScriptedProvider, start: Start):
    liar.claims = {"groups": None}
    browser = await start(liar.issuer, allowed_groups="", allowed_domains="example.com")

    assert (await lied_to(browser, liar))[0].json()["claims"]["groups"] == []
    assert "/userinfo" not in liar.paths()


@pytest.mark.parametrize("says", [{"sub": "root"}, {}, {"sub": ["ada"]}])
async def test_somebody_elses_userinfo(liar: ScriptedProvider, start: Start, says: dict[str, Any]):
    liar.claims = {"email": None}
    liar.userinfo = {"email": "root@example.com", "email_verified": True, **says}
    browser = await start(liar.issuer)

    answer, logged = await lied_to(browser, liar)

    refused(answer)
    assert "somebody else" in logged


async def test_an_address_is_not_verified_by_what_is_said_of_another(liar: ScriptedProvider, start: Start):
    liar.claims = {"email": None, "email_verified": True}
    liar.userinfo = {"sub": "ada", "email": "root@example.com"}
    browser = await start(liar.issuer)

    claims = (await lied_to(browser, liar))[0].json()["claims"]

    assert (claims["email"], claims["email_verified"]) == ("root@example.com", None)


@pytest.mark.parametrize(
    ("says", "expected"),
    [(True, True), ("true", True), (False, False), ("false", False), ("yes", False), (1, False), ([True], False)],
)
async def test_when_an_address_is_verified(liar: ScriptedProvider, start: Start, says: Any, expected: bool):
    liar.claims = {"email_verified": says}
    browser = await start(liar.issuer)

    assert (await lied_to(browser, liar))[0].json()["claims"]["email_verified"] is expected


async def test_what_is_said_of_somebody_is_short_and_plain(liar: ScriptedProvider, start: Start):
    liar.claims = {
        "name": "A" * 301,
        "preferred_username": "ada\x1b[31m",
        "email": "ada@example.com\r\nX: y",
        "groups": {"admins": True},
    }
    browser = await start(liar.issuer)

    claims = (await lied_to(browser, liar))[0].json()["claims"]

    assert (claims["name"], claims["email"], claims["groups"]) == (None, None, [])


# A provider that is away, or another


async def test_a_provider_that_is_away(start: Start):
    browser = await start(f"http://127.0.0.1:{reserve_port()}")

    answer = await browser.get(BEGIN)

    assert (answer.status_code, answer.json()["code"]) == (503, "provider_away")
    assert answer.headers["retry-after"] == "10"
    assert (await browser.get("/end")).json() is None


async def test_a_provider_that_takes_the_call_and_says_nothing_is_given_up(
    start: Start,
):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        browser = await start(f"http://127.0.0.1:{silent.getsockname()[1]}", oidc_timeout_seconds=0.5)
        answer = await browser.get(BEGIN)

    # It is given up while the provider still holds the call.
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_away")


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/jwks", "/userinfo"])
@pytest.mark.parametrize("status", [500, 502, 429])
async def test_a_provider_in_trouble_is_asked_again_the_next_time(
    liar: ScriptedProvider, start: Start, path: str, status: int
):
    liar.claims = {"email": None}
    browser = await start(liar.issuer, pause=0.0)
    liar.statuses = {path: status}
    if path.startswith("/."):
        assert (await browser.get(BEGIN)).status_code == 503
    else:
        answer, logged = await lied_to(browser, liar)
        assert refused(answer, "provider_away")
        assert "provider_away" in logged

    liar.statuses = {}
    assert (await lied_to(browser, liar))[0].status_code == 200


@pytest.mark.parametrize("code", ["provider_away", "sign_in_failed"])
async def test_whoever_comes_while_the_provider_is_away_costs_no_call(liar: ScriptedProvider, start: Start, code: str):
    description = "/.well-known/openid-configuration"
    browser = await start(liar.issuer, pause=AMPLE_SECONDS)
    liar.statuses = {description: 500} if code == "provider_away" else {}
    liar.description = {"issuer": "https://elsewhere.example"}

    together = await asyncio.gather(*(browser.get(BEGIN) for _ in range(5)))
    after = await browser.get(BEGIN)

    assert {answer.json()["code"] for answer in (*together, after)} == {code}
    assert liar.paths() == [description]


async def test_those_who_come_together_ask_once(liar: ScriptedProvider, start: Start):
    browser = await start(liar.issuer)

    answers = await asyncio.gather(*(browser.get(BEGIN) for _ in range(5)))

    assert [answer.status_code for answer in answers] == [303] * 5
    assert liar.paths() == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("path", ["/token", "/jwks", "/userinfo"])
@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b"<h1>no</h1>"), (404, b"{}"), (302, b""), (200, b""), (200, b"[]"), (200, b"[" * 100_000), (200, b"7")],
)
async def test_answers_that_are_none(liar: ScriptedProvider, start: Start, path: str, status: int, body: bytes):
    liar.claims = {"email": None}
    liar.statuses, liar.bodies = {path: status}, {path: body}
    browser = await start(liar.issuer)

    refused((await lied_to(browser, liar))[0])


async def test_an_answer_without_end(liar: ScriptedProvider, start: Start):
    liar.bodies = {"/jwks": b'{"keys": ["' + b"A" * 1_000_000 + b'"]}'}
    browser = await start(liar.issuer)

    answer, logged = await lied_to(browser, liar)

    refused(answer)
    assert "too large" in logged


@pytest.mark.parametrize(
    "description",
    [
        {"issuer": "https://evil.example"},
        {"issuer": "http://127.0.0.1/"},
        {"issuer": None},
        {"token_endpoint": None},
        {"jwks_uri": 7},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://127.0.0.1/\r\nSet-Cookie: x=y"},
        {"userinfo_endpoint": "file:///etc/passwd"},
        {"end_session_endpoint": "ftp://127.0.0.1/"},
    ],
)
async def test_a_description_that_is_another_providers_or_unusable(
    liar: ScriptedProvider, start: Start, description: dict[str, Any]
):
    browser = await start(liar.issuer)
    liar.description = description

    answer = await browser.get(BEGIN)

    assert (answer.status_code, answer.json()["code"]) == (400, "sign_in_failed")
    assert "set-cookie" not in answer.headers


async def test_no_way_to_sign_out_at_the_provider(liar: ScriptedProvider, start: Start):
    liar.description = {"end_session_endpoint": None}

    assert (await (await start(liar.issuer)).get("/end")).json() is None


async def test_a_query_of_the_end_address_stays(liar: ScriptedProvider, start: Start):
    address = (await (await start(liar.issuer)).get("/end")).json()

    assert address.startswith(f"{liar.issuer}/end?of=session&client_id={CLIENT_ID}&post_logout_redirect_uri=http%3A")


async def test_a_provider_that_signs_in_no_known_way(liar: ScriptedProvider, start: Start):
    liar.description = {"id_token_signing_alg_values_supported": ["none", "HS256"]}
    browser = await start(liar.issuer)

    answer, logged = await lied_to(browser, liar)

    refused(answer)
    assert "no way that is known" in logged


def test_a_portal_without_openid_never_loads_the_library():
    script = "import sys, app.main, app.web.auth.oidc; print([m for m in sys.modules if m.startswith(('authlib', 'joserfc'))])"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=AMPLE_SECONDS, check=True
    )

    assert done.stdout.strip() == "[]"
