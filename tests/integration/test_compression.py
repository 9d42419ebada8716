"""What is compressed on its way to a browser, and what must not be."""

import gzip
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.web.assets import asset
from tests.integration.conftest import Servers
from tests.integration.holding import UNHURRIED
from tests.integration.test_failures import new_name
from tests.servers import PortalServer, http_client
from tests.waiting import WAIT_SECONDS

GZIP = {"accept-encoding": "gzip, deflate, br"}
PLAIN = {"accept-encoding": "identity"}
STYLE = asset("portal.css")
COMPRESSED = ("/", "/?name=ada", "/?lang=ar", STYLE, asset("deploy.js"), asset("line.svg"))


@pytest.fixture(scope="module")
def shared_values() -> dict[str, Any]:
    return UNHURRIED


@pytest.fixture
def portal(shared_servers: Servers) -> PortalServer:
    return shared_servers.portal


def wire(portal: PortalServer, method: str, path: str, **headers: str) -> tuple[int, httpx.Headers, bytes]:
    """What really comes over the connection: status, headers and the bytes of the body, as they are."""
    address = urlsplit(portal.url)
    lines = [f"{method} {path} HTTP/1.1", f"host: {address.netloc}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((address.hostname, address.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    status, *fields = head.split(b"\r\n")
    pairs = [(name, value) for name, _, value in (field.decode().partition(": ") for field in fields)]
    return int(status.split()[1]), httpx.Headers(pairs), body


def varies(headers: httpx.Headers) -> list[str]:
    return [word.strip().lower() for word in headers.get("vary", "").split(",")]


@pytest.mark.parametrize("path", COMPRESSED)
def test_the_first_page_and_files_are_compressed_for_whoever_takes_it(portal: PortalServer, path: str):
    status, headers, body = wire(portal, "GET", path, **GZIP)
    plain_status, plain_headers, plain = wire(portal, "GET", path, **PLAIN)

    assert (status, headers["content-encoding"]) == (plain_status, "gzip") == (200, "gzip")
    assert gzip.decompress(body) == plain
    assert int(headers["content-length"]) == len(body) < len(plain) == int(plain_headers["content-length"])
    assert "content-encoding" not in plain_headers
    for each in (headers, plain_headers):
        assert varies(each).count("accept-encoding") == 1
    if path.startswith("/static/"):
        assert headers["cache-control"] == plain_headers["cache-control"] == "public, max-age=31536000, immutable"
    else:
        assert {"accept-language", "cookie"} < set(varies(headers))


@pytest.mark.parametrize("asked", [GZIP, PLAIN])
@pytest.mark.parametrize("path", ["/", STYLE, asset("favicon.svg")])
def test_head_has_the_headers_of_get_and_no_body(portal: PortalServer, path: str, asked: dict[str, str]):
    status, headers, body = wire(portal, "HEAD", path, **asked)
    of_get = wire(portal, "GET", path, **asked)

    assert (status, body) == (200, b"")
    assert {**headers, "date": ""} == {**of_get[1], "date": ""}
    assert int(headers["content-length"]) == len(of_get[2]) > 0


def test_a_file_that_a_browser_has_is_not_sent_again(portal: PortalServer):
    tags = {}
    for name, asked in (("gzip", GZIP), ("plain", PLAIN)):
        _, headers, _ = wire(portal, "GET", STYLE, **asked)
        tags[name] = headers["etag"]
        status, again, body = wire(portal, "GET", STYLE, **asked, **{"if-none-match": tags[name]})
        assert (status, body) == (304, b"")
        assert varies(again) == ["accept-encoding"]
        status, _, body = wire(portal, "GET", STYLE, **asked, **{"if-none-match": '"another"'})
        assert (status, bool(body)) == (200, True)
    # The same file, but not the same bytes.
    assert tags["gzip"] == f"W/{tags['plain']}"


def test_a_part_of_a_file_is_a_part_of_the_file(portal: PortalServer):
    _, _, plain = wire(portal, "GET", STYLE, **PLAIN)

    status, headers, body = wire(portal, "GET", STYLE, **GZIP, range="bytes=10-19")

    assert (status, body) == (206, plain[10:20])
    assert "content-encoding" not in headers
    _, whole, _ = wire(portal, "GET", STYLE, **GZIP)
    assert "accept-ranges" not in whole, "the next part would not be one of these bytes"
    status, _, _ = wire(portal, "GET", STYLE, **GZIP, **{"range": "bytes=10-19", "if-range": whole["etag"]})
    assert status == 200


def test_nothing_that_may_hold_a_secret_or_streams_is_compressed(servers: Servers):
    portal = servers.portal
    client = http_client(base_url=portal.url, headers={**GZIP, "accept": "text/html"})
    with client:
        name = new_name()
        here = client.post("/deploy", data={"name": name}).headers["location"]
        deployment = here.rpartition("/")[2]
        portal.wait(deployment)
        ready = client.get(here)
        assert 'id="password"' in ready.text
        answers: dict[str, httpx.Response] = {"a page with a password": ready}
        for path in (f"/stacks/{name}/delete", "/docs", "/openapi.json", "/nothing", f"/api/check/{name}"):
            answers[path] = client.get(path)
        answers["a refusal"] = client.post("/deploy", data={"name": "a_b"})
        answers["the form, to whom it may not be sent"] = client.post("/", data={"name": "a_b"})
        answers["the record"] = client.get(f"/api/deployments/{deployment}")
        answers["the stack"] = client.get(f"/api/stack/{name}")
        for accept in ("text/event-stream", "application/x-ndjson"):
            answers[accept] = client.get(f"{answers['the record'].url}/events", headers={"accept": accept})
    for what, answer in answers.items():
        assert len(answer.content) > 100, what
        assert "content-encoding" not in answer.headers, what
        assert "accept-encoding" not in varies(answer.headers), what
    assert answers["the stack"].json()["password"] in ready.text
    event: dict[str, Any] = json.loads(answers["application/x-ndjson"].text.splitlines()[0])
    assert event["n"] == 1
