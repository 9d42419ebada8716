"""The headers of every answer, of whatever kind it is."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.test_pages import HTML
from tests.servers import ADMIN_TOKEN, PortalServer

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
# Method, address, headers and status; `{id}` is a deployment that is over.
KINDS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "page": ("GET", "/", HTML, 200),
    "page without a body": ("HEAD", "/", HTML, 200),
    "page with a password": ("GET", "/stacks/ada", {**HTML, **OPERATOR}, 200),
    "page that is not there": ("GET", "/nothing", HTML, 404),
    "redirect": ("GET", "/deploy", HTML, 303),
    "JSON": ("GET", "/api/stacks", {}, 200),
    "health": ("GET", "/health", {}, 200),
    "readiness": ("GET", "/ready", {}, 200),
    "OpenAPI": ("GET", "/openapi.json", {}, 200),
    "text": ("GET", "/robots.txt", {}, 200),
    "problem": ("GET", "/api/stack/nobody", {}, 404),
    "unknown in the API": ("GET", "/api/nothing", {}, 404),
    "wrong method": ("DELETE", "/api/deploy", {}, 405),
    "wrong method of a page": ("PATCH", "/", HTML, 405),
    "no credential": ("DELETE", "/api/stack/ada", {}, 401),
    "too large": ("POST", "/api/deploy", {"content-type": "application/json"}, 413),
    "static file": ("GET", "/static/portal.css", {}, 200),
    "static file, compressed": ("GET", "/static/portal.css", {"accept-encoding": "gzip"}, 200),
    "part of a static file": ("GET", "/static/portal.css", {"range": "bytes=0-9", "accept-encoding": "identity"}, 206),
    "no such static file": ("GET", "/static/nothing.css", {}, 404),
    "static file with a wrong method": ("POST", "/static/portal.css", {}, 405),
    "event stream": ("GET", "/api/deployments/{id}/events", {}, 200),
    "JSON lines": ("GET", "/api/deployments/{id}/events", {"accept": "application/x-ndjson"}, 200),
    "nothing more to come": ("GET", "/api/deployments/{id}/events", {"last-event-id": "{last}"}, 204),
}


EXPECTED = {
    "x-content-type-options": r"nosniff",
    "referrer-policy": r"same-origin",
    "cross-origin-opener-policy": r"same-origin",
    "cross-origin-resource-policy": r"same-origin",
    "content-security-policy": r"default-src 'none'; .*\bbase-uri 'none'; frame-ancestors 'none'",
    "permissions-policy": r"accelerometer=\(\), .*\bcamera=\(\), .*\bmicrophone=\(\), .*",
}


def assert_headers(answer: httpx.Response, *, tls: bool) -> None:
    for name, value in EXPECTED.items():
        assert len(answer.headers.get_list(name)) == 1, name
        assert re.fullmatch(value, answer.headers[name]), name
    # Neither for the stacks beside the portal, nor for what its operator has below it.
    assert answer.headers.get("strict-transport-security") == ("max-age=31536000" if tls else None)
    assert "server" not in answer.headers


@pytest.mark.parametrize("app_env", ["production", "development"])
def test_every_kind_of_answer_has_them(start_portal: Callable[..., PortalServer], app_env: str):
    portal = start_portal(app_env=app_env)
    deployment = portal.deploy("ada")["deploymentId"]
    portal.wait(deployment)
    last = len(portal.events(deployment))
    for kind, (method, path, headers, status) in KINDS.items():
        sent = {name: value.replace("{last}", str(last)) for name, value in headers.items()}
        content = b"x" * 2**17 if status == 413 else None
        answer = portal.client.request(method, path.replace("{id}", deployment), headers=sent, content=content)
        try:
            assert answer.status_code == status
            assert_headers(answer, tls=app_env == "production")
        except AssertionError as error:
            error.add_note(f"of: {kind}")
            raise


def conditional(portal: PortalServer) -> httpx.Response:
    etag = portal.client.get("/static/portal.css").headers["etag"]
    return portal.client.get("/static/portal.css", headers={"if-none-match": etag})


def test_a_file_that_has_not_changed_has_them(portal: PortalServer):
    answer = conditional(portal)

    assert answer.status_code == 304
    assert_headers(answer, tls=False)


def test_a_refusal_for_too_much_has_them(start_portal: Callable[..., PortalServer]):
    portal = start_portal(rate_per_address="1/minute")
    portal.client.get("/api/stacks")

    for headers in ({}, HTML):
        answer = portal.client.get("/", headers=headers)
        assert answer.status_code == 429
        assert_headers(answer, tls=False)


@pytest.fixture
def broken(start_portal: Callable[..., PortalServer]) -> PortalServer:
    """A portal that cannot read a stack's password: it was written over."""
    portal = start_portal(app_env="production", rate_per_address="500/minute")
    portal.wait(portal.deploy("ada")["deploymentId"])
    portal.spoil_passwords()
    return portal


@pytest.mark.parametrize("accept", [{}, HTML])
def test_a_mistake_of_the_portals_own_has_them(broken: PortalServer, accept: dict[str, str]):
    answer = broken.client.get("/api/stack/ada", headers={**OPERATOR, **accept})

    assert answer.status_code == 500
    assert_headers(answer, tls=True)
    assert answer.headers["ratelimit"].startswith('"address";r=4')


def test_whatever_counts_requests_says_so_in_the_openapi_document(portal: PortalServer):
    document: dict[str, Any] = portal.client.get("/openapi.json").json()

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert ("429" in operation["responses"]) is (path not in {"/health", "/ready"}), (method, path)
            if "requestBody" in operation:
                assert {"408", "413"} <= operation["responses"].keys(), (method, path)
    headers = document["paths"]["/api/deploy"]["post"]["responses"]["429"]["headers"]
    assert set(headers) == {"Retry-After", "RateLimit-Policy", "RateLimit"}
