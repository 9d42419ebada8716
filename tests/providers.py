"""OpenID providers for tests, on real sockets: a real one, and one that says what it is told to say."""

import base64
import contextlib
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.ports import reserve_port
from tests.waiting import WAIT_SECONDS, wait_until

CLIENT_ID = "portal"


@contextmanager
def serve_provider(users: Mapping[str, Mapping[str, Any]], *, seconds: int = 3600) -> Iterator[str]:
    """Serve a real provider; gives its issuer. users: claims by subject; seconds: how long a token holds.

    In a process of its own, as it warns of much that it uses, and here a warning is an error.
    """
    port = reserve_port()
    issuer = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "oidc_provider_mock", f"--port={port}", f"--token-max-age={seconds}"]
    for subject, claims in users.items():
        command.append(f"--user-claims={json.dumps({'sub': subject, **claims})}")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, "the provider did not start"
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{issuer}/jwks", timeout=WAIT_SECONDS, trust_env=False).is_success
        return False

    try:
        wait_until(answers, pause=0.05)
        yield issuer
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)


def press(address: str, **form: str) -> str:
    """Do what a person does on the real provider's page: choose who to be, or say no; gives where it leads."""
    answer = httpx.post(address, data=form, trust_env=False)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


class ScriptedProvider:
    """A provider whose every answer a test can change; with nothing changed it is a good one.

    claims: laid over those of the ID token, None takes one out; userinfo: what it knows besides; description: laid over
    its own; key: it signs with this; header: of the ID token; token: makes another ID token of the claims; statuses: by
    path; asked: the paths that were asked, with headers and form.
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys = [RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})]
        self.key: Any = self.keys[0]
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "one"}
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"sub": "ada"}
        self.description: dict[str, Any] = {}
        self.token: Callable[[dict[str, Any]], str] = self.sign
        self.statuses: dict[str, int] = {}
        self.bodies: dict[str, bytes] = {}
        self.asked: list[tuple[str, Mapping[str, str], dict[str, str]]] = []
        self._given: dict[str, dict[str, str]] = {}

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(self.header, claims, self.key, algorithms=["RS256", "HS256", "ES256"])

    def let_in(self, address: str, **more: str) -> str:
        """Be the provider's page on which somebody has signed in: the address of the portal with a code."""
        wanted = dict(parse_qsl(urlsplit(address).query))
        code = f"code-{len(self._given)}"
        self._given[code] = wanted
        query = httpx.QueryParams({"code": code, "state": wanted["state"], **more})
        return f"{wanted['redirect_uri']}?{query}"

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def answer(self, path: str, headers: Mapping[str, str], form: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append((path, headers, form))
        if status := self.statuses.get(path):
            return status, self.bodies.get(path, b"<h1>no</h1>")
        if path in self.bodies:
            return 200, self.bodies[path]
        says = {
            "/.well-known/openid-configuration": self._describe,
            "/jwks": lambda _: {"keys": [key.as_dict(private=False) for key in self.keys]},
            "/token": self._redeem,
            "/userinfo": lambda _: self.userinfo,
        }[path](form)
        return (400 if "error" in says else 200), json.dumps(says).encode()

    def _describe(self, _: dict[str, str]) -> dict[str, Any]:
        described = {
            "issuer": self.issuer,
            **{f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token", "userinfo")},
            "end_session_endpoint": f"{self.issuer}/end?of=session",
            "jwks_uri": f"{self.issuer}/jwks",
            "id_token_signing_alg_values_supported": ["RS256"],
            **self.description,
        }
        return {name: value for name, value in described.items() if value is not None}

    def _redeem(self, form: dict[str, str]) -> dict[str, Any]:
        wanted = self._given.pop(form.get("code", ""), None)
        if wanted is None or form["redirect_uri"] != wanted["redirect_uri"]:
            return {"error": "invalid_grant"}
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != wanted["code_challenge"]:
            return {"error": "invalid_grant", "error_description": "the verifier is another"}
        claims = {
            "iss": self.issuer,
            "sub": "ada",
            "aud": CLIENT_ID,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
            "nonce": wanted["nonce"],
            "name": "Ada Lovelace",
            "email": "ada@example.com",
            "email_verified": True,
            "groups": ["developers"],
            **self.claims,
        }
        id_token = self.token({name: value for name, value in claims.items() if value is not None})
        return {"id_token": id_token, "access_token": "an-access-token", "token_type": "Bearer"}


@contextmanager
def serve_scripted_provider() -> Iterator[ScriptedProvider]:
    """Serve one for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, form: dict[str, str]) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, body = provider.answer(urlsplit(self.path).path, headers, form)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = ScriptedProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
