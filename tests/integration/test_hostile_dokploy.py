"""A Dokploy that means harm, at the wire: whatever it answers is bounded, is one of our errors, and is shown as text."""

import asyncio
import gzip
import json
import logging
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog

from app.dokploy import DokployClient, DokployError
from app.dokploy.circuit import Circuit
from app.dokploy.connection import MAX_ANSWER_BYTES
from app.logging import configure_logging
from tests.integration.test_dokploy_client import answering, response, serving
from tests.process_state import restored_state
from tests.servers import ADMIN_TOKEN, TOKEN, Emulator, PortalServer, http_client
from tests.waiting import WAIT_SECONDS

StartPortal = Callable[..., PortalServer]

ESCAPES = "\x1b[2J\x1b]0;owned\x07"
BIDI = "\u202egnp.exe\u2066"
MARKUP = '<script>alert(1)</script><img src=x onerror="alert(2)">&amp;'
DEEP = b"[" * 10_000 + b"]" * 10_000
DIGITS = b"9" * 10_000


def patient(url: str, **more: Any) -> DokployClient:
    """A client that asks whatever came before."""
    return DokployClient(
        url, TOKEN, **{"timeout": WAIT_SECONDS, "circuit": Circuit(failures=10_000, seconds=5), **more}
    )


def told(message: bytes, status: int = 500) -> bytes:
    return response(status, b'{"message":' + message + b',"code":"INTERNAL_SERVER_ERROR"}')


# What comes over the wire, for whatever was asked.
ANSWERS: dict[str, bytes] = {
    "a page": response(502, MARKUP.encode(), b"content-type: text/html\r\n"),
    "a page with status 200": response(200, MARKUP.encode()),
    "10 MB": response(500, b"x" * 10_000_000),
    "10 MB in a message": told(b'"' + b"x" * 10_000_000 + b'"'),
    "more than is read": response(200, b'"' + b"x" * (MAX_ANSWER_BYTES + 1) + b'"'),
    "invalid UTF-8": response(500, b"\xff\xfe\x80" * 1000),
    "invalid UTF-8 in JSON": told(b'"\xff\xfe\x80"'),
    "half a surrogate": told(b'"\\ud800"'),
    "a NUL": told(b'"\\u0000"'),
    "nested 10,000 deep": response(500, DEEP),
    "nested 10,000 deep in a message": told(DEEP),
    "nested 10,000 deep with status 200": response(200, DEEP),
    "a number of 10,000 digits": response(500, DIGITS),
    "a number of 10,000 digits in a message": told(DIGITS),
    "a number of 10,000 digits with status 200": response(200, b"[" + DIGITS + b"]"),
    "no object": response(500, b'["message"]'),
    "a message that is none": told(b'{"message": null}'),
    "a header bomb": b"HTTP/1.1 200 X\r\n" + b"x-bomb: " + b"x" * 5_000_000 + b"\r\n\r\n",
    "a thousand headers": response(500, b"no", b"".join(b"x-%d: %s\r\n" % (n, b"y" * 1000) for n in range(1000))),
    "a header that begins another answer": response(500, b"no", b"x: a\r\n\r\nHTTP/1.1 200 OK\r\n"),
    "no number for a length": b"HTTP/1.1 200 X\r\ncontent-length: " + b"9" * 10_000 + b"\r\n\r\n[]",
    "two lengths": b"HTTP/1.1 200 X\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n[]",
    "a length that is not kept": b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n[]",
    "chunks that are none": b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n[]\r\n",
    "a chunk of no end": b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n[]",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1 999999 X\r\n\r\n",
    "a status that is none": response(999, b"{}"),
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "control characters": told(json.dumps(f"{ESCAPES}\r\nerror: forged {BIDI}").encode()),
    "a gzip bomb": response(200, gzip.compress(b"[" + b" " * 100_000_000 + b"]", 9), b"content-encoding: gzip\r\n"),
    "gzip in gzip": response(200, gzip.compress(gzip.compress(b"[]")), b"content-encoding: gzip, gzip\r\n"),
}

# Of these more is waited for until the deadline.
NEVER_WHOLE = {"a length that is not kept", "no HTTP"}


@pytest.mark.anyio
@pytest.mark.parametrize("case", ANSWERS)
async def test_whatever_it_answers_is_one_of_our_errors_and_short(case: str):
    async def answer(count: int) -> bytes:
        return ANSWERS[case]

    timeout = 0.3 if case in NEVER_WHOLE else WAIT_SECONDS
    async with serving(answer) as (url, _), patient(url, timeout=timeout) as client:
        for call in (client.list_projects, lambda: client.create_project("ada", "m")):
            with pytest.raises(DokployError) as failed:
                await call()
            assert len(failed.value.message) <= 600
            assert TOKEN not in str(failed.value)


@pytest.mark.anyio
@pytest.mark.parametrize("case", ["10 MB in a message", "more than is read", "a gzip bomb", "a header bomb"])
async def test_no_answer_fills_the_memory(case: str):
    async def answer(count: int) -> bytes:
        return ANSWERS[case]

    async with serving(answer) as (url, _), patient(url) as client:
        tracemalloc.start()
        try:
            with pytest.raises(DokployError):
                await client.create_project("ada", "m")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # What is read at most, joined once, and as text.
    assert peak < 4 * MAX_ANSWER_BYTES, peak


LOGS = {
    "a line of 10 MB": ("one\n" + "x" * 10_000_000 + "\nlast\n", 3),
    "a million lines": ("".join(f"{number}\n" for number in range(1_000_000)), 1000),
    "a million carriage returns": ("one\n" + "\r" * 1_000_000 + "shown\n", 2),
    "nothing but ends": ("\n" * 1_000_000, 1000),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", LOGS)
async def test_a_log_is_bounded(case: str):
    text, lines = LOGS[case]
    body = json.dumps(text).encode()
    async with answering(200, body) as (url, _), patient(url) as client:
        tracemalloc.start()
        try:
            read = await client.read_deployment_log("d")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(read) == lines
    assert max(map(len, read)) <= 10_000
    assert read[-1] == {"a line of 10 MB": "last", "a million lines": "999999"}.get(case, read[-1])
    assert peak < 4 * len(body) + 2**20, peak


@pytest.mark.anyio
async def test_a_redirect_is_not_followed_so_that_the_key_stays_here():
    async with answering(200, b"[]") as (elsewhere, stolen):
        for status in (301, 302, 303, 307, 308):
            to = f"location: {elsewhere}/api/project.all\r\n".encode()
            async with answering(status, b"", to) as (url, _), patient(url) as client:
                with pytest.raises(DokployError):
                    await client.list_projects()
                with pytest.raises(DokployError):
                    await client.create_project("ada", "m")
    assert stolen == []


@pytest.mark.anyio
async def test_its_cookies_are_not_kept():
    async with answering(200, b"[]", b"set-cookie: session=stolen; Path=/\r\n") as (url, heads), patient(url) as client:
        for _ in range(2):
            await client.list_projects()
    assert len(heads) == 2
    assert b"cookie" not in b"".join(heads).lower()


@pytest.mark.anyio
async def test_drip_by_drip_it_has_no_longer_than_any_call():
    """A byte now and then keeps each read short, and the answer endless."""

    ended = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            writer.close()
            ended.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, patient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.3) as client:
        with pytest.raises(DokployError, match="no answer within"):
            await client.create_project("ada", "m")
        await asyncio.wait_for(ended.wait(), WAIT_SECONDS)


@pytest.mark.anyio
async def test_pages_of_a_search_that_never_ends_are_an_error():
    row = {"name": "x", "appName": "x", "environmentId": "e", "createdAt": "2025-01-02T03:04:05Z"}
    count = 0

    async def more(number: int) -> bytes:
        nonlocal count
        count += 1
        items = [{**row, "applicationId": f"{number}-{n}"} for n in range(100)]
        return response(200, json.dumps({"items": items, "total": 10**9}).encode())

    async with serving(more) as (url, _), patient(url) as client:
        with pytest.raises(DokployError, match="does not come to an end"):
            await client.search_applications("asd:x")
    assert count == 100


@pytest.mark.anyio
@pytest.mark.parametrize("hostile", ["", "x" * 61, "a b", "a\r\nx-api-key: b", "a\x00b", "\x1b[31m", "é", "../../etc"])
async def test_its_ids_are_made_of_what_ids_are_made_of(hostile: str):
    body = {
        "project": {"projectId": hostile, "name": "ada", "createdAt": "2025-01-02T03:04:05Z"},
        "environment": {"environmentId": "e", "name": "production"},
    }
    async with answering(200, json.dumps(body).encode()) as (url, heads), patient(url) as client:
        if hostile == "../../etc":  # goes into a body or a query, which is written by a library
            project = (await client.create_project("ada", "m")).project
            with pytest.raises(DokployError):
                await client.read_project(project.project_id)
            assert b"GET /api/project.one?projectId=..%2F..%2Fetc HTTP/1.1" in heads[-1]
            return
        with pytest.raises(DokployError, match=r"projectId|project_id"):
            await client.create_project("ada", "m")


@pytest.mark.anyio
async def test_its_names_obey_no_terminal_and_turn_no_text():
    body = [{"domainId": "d", "host": f"ada{ESCAPES}{BIDI}\r\nx" + "y" * 1000, "createdAt": "2025-01-02T03:04:05Z"}]
    async with answering(200, json.dumps(body).encode()) as (url, _), patient(url) as client:
        (domain,) = await client.list_domains("a")
    assert domain.host.startswith("ada[2J]0;ownedgnp.exex")
    assert domain.host.isprintable()
    assert len(domain.host) <= 300
    async with answering(200, json.dumps(f"v0.30{ESCAPES}{BIDI}").encode()) as (url, _), patient(url) as client:
        assert await client.version() == "v0.30[2J]0;ownedgnp.exe"


# The whole portal behind it


class Between:
    """A server between the portal and the emulator, which answers some of the calls itself."""

    def __init__(self, emulator_url: str) -> None:
        self.answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        between = self
        client = http_client(base_url=emulator_url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Say nothing."""

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                call = self.path.removeprefix("/api/").partition("?")[0]
                if call in between.answers:
                    status, content, headers = between.answers[call]
                else:
                    given = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                    answer = client.request(self.command, self.path, content=body, headers=given)
                    status, content = answer.status_code, answer.content
                    headers = {"content-type": answer.headers.get("content-type", "application/json")}
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._client = client

    def say(self, call: str, answer: Any, status: int = 200, **headers: str) -> None:
        """Answer a call with this from now on."""
        self.answers[call] = (status, json.dumps(answer).encode(), headers)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=WAIT_SECONDS)
        self._client.close()


@pytest.fixture
def between(emulator: Emulator) -> Iterator[Between]:
    server = Between(emulator.url)
    yield server
    server.close()


class Page(HTMLParser):
    """The elements and the texts that a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


LINE = f"{MARKUP} {ESCAPES}{BIDI} the end of it"
SHOWN = '<script>alert(1)</script><img src=x onerror="alert(2)">&amp; [2J]0;ownedgnp.exe the end of it'


@pytest.mark.parametrize("database", ["database_url", "postgres_url"])
def test_a_hostile_log_is_text_everywhere(
    start_portal: StartPortal, emulator: Emulator, between: Between, database: str, request: pytest.FixtureRequest
):
    long = "y" * 10_000_000
    between.say("deployment.readLogs", f"{LINE}\n{long}\n" + "\x00\n" + "".join(f"{n}\n" for n in range(500)) + LINE)
    emulator.fault("fail")
    portal = start_portal(
        dokploy_url=between.url,
        stack_probe_address=emulator.url.removeprefix("http://"),
        database_url=request.getfixturevalue(database),
    )

    deployment_id = portal.deploy("ada")["deploymentId"]
    record = portal.wait(deployment_id)

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "deploy_failed")
    lines = [event["params"]["line"] for event in portal.events(deployment_id) if event["type"] == "log_line"]
    assert lines[-1] == SHOWN
    assert len(lines) <= 320
    assert max(map(len, lines)) <= 400
    assert all(line.isprintable() for line in lines)
    page_text = portal.client.get(f"/deployments/{deployment_id}", headers={"accept": "text/html"}).text
    page = Page(page_text)
    assert SHOWN in page.text
    assert len(page_text) < 500_000
    assert not [attrs for tag, attrs in page.elements if tag == "script" and "src" not in attrs and "type" not in attrs]
    assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)]
    stream = portal.client.get(f"/api/deployments/{deployment_id}/events").text
    assert "\x1b" not in stream + page_text
    assert "\u202e" not in stream + page_text
    assert len(stream) < 500_000
    assert len(json.dumps(record)) < 500_000


@pytest.mark.parametrize("case", ["markup", "escapes"])
def test_a_hostile_error_text_is_nowhere_but_in_the_log(
    start_portal: StartPortal, emulator: Emulator, between: Between, case: str
):
    message = {"markup": MARKUP, "escapes": f"{ESCAPES}{BIDI}\r\nforged"}[case]
    between.say("application.create", {"message": message, "code": "BAD_REQUEST"}, 400)
    portal = start_portal(dokploy_url=between.url, stack_probe_address=emulator.url.removeprefix("http://"))

    deployment_id = portal.deploy("ada")["deploymentId"]
    record = portal.wait(deployment_id)

    assert (record["conclusion"], record["problem"]["code"]) == ("failed", "dokploy_refused")
    everything = [
        portal.client.get(path, headers={"accept": accept}).text
        for path in (f"/deployments/{deployment_id}", f"/deployments/{deployment_id}/record", "/", "/health")
        for accept in ("text/html", "application/json")
    ]
    everything += [portal.client.get(f"/api/deployments/{deployment_id}{more}").text for more in ("", "/events")]
    for each in everything:
        assert "alert(" not in each
        assert "\x1b" not in each
        assert "forged" not in each


@pytest.mark.parametrize("database", ["database_url", "postgres_url"])
def test_hostile_names_go_through_the_whole_portal(
    start_portal: StartPortal, emulator: Emulator, between: Between, database: str, request: pytest.FixtureRequest
):
    """A NUL that PostgreSQL would not store, markup, escapes and a version to match: a deployment goes on all the same."""
    hostile = f"{MARKUP}{ESCAPES}\x00{BIDI}\r\nset-cookie: x=y"
    between.say("settings.getDokployVersion", hostile[:40], 200)
    mount = {"mountId": "m1", "volumeName": hostile, "mountPath": hostile}
    between.say("mounts.create", mount)
    portal = start_portal(
        dokploy_url=between.url,
        stack_probe_address=emulator.url.removeprefix("http://"),
        database_url=request.getfixturevalue(database),
    )

    deployment_id = portal.deploy("ada")["deploymentId"]
    record = portal.wait(deployment_id)

    assert record["conclusion"] is not None
    assert record["problem"] is None or record["problem"]["code"] != "internal_error", record
    operator = {"authorization": f"Bearer {ADMIN_TOKEN}", "accept": "text/html"}
    for path in (f"/deployments/{deployment_id}", f"/deployments/{deployment_id}/record", "/health", "/stacks/ada"):
        answer = portal.client.get(path, headers=operator)
        assert answer.status_code in {200, 404}
        assert "set-cookie" not in answer.headers or "x=y" not in answer.headers["set-cookie"]
        assert "\x1b" not in answer.text
        assert "\u202e" not in answer.text
        page = Page(answer.text) if answer.headers["content-type"].startswith("text/html") else None
        assert page is None or not [attrs for _, attrs in page.elements if "onerror" in attrs]


# The log


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    with restored_state():
        yield lambda: "".join(capsys.readouterr())


@pytest.mark.parametrize("readable", [True, False])
def test_no_line_of_the_log_is_forged_and_no_terminal_obeys(written: Callable[[], str], readable: bool):
    configure_logging("debug", readable=readable, secrets=["hush-hush-secret"])
    structlog.get_logger().warning(
        "sign_in_refused",
        address=f'1.2.3.4{ESCAPES}\r\n{{"event": "forged"}}{BIDI}\ud800',
        path=f"/x{ESCAPES}hush-hush-secret",
        agent="hush-hush-secret",
    )
    try:
        raise ValueError(f"hush-hush-secret {ESCAPES}")
    except ValueError:
        structlog.get_logger().exception("request_broke")
        logging.getLogger("uvicorn.error").exception("broke %s", f"{ESCAPES}\nforged hush-hush-secret")

    said = written()

    assert "[masked]" in said
    assert "hush-hush" not in said
    # The colours that the renderer itself uses for a person at a terminal are all there may be of these.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert all(letter.isprintable() or letter == "\n" for letter in plain), repr(plain)
    assert not [line for line in plain.splitlines() if line.startswith(("forged", '{"event": "forged"'))]


def test_what_strangers_say_of_themselves_forges_no_line(
    start_portal: StartPortal, written: Callable[[], str], emulator: Emulator
):
    """Their address from a proxy that is believed, their browser, and the paths that they ask for."""
    portal = start_portal()
    configure_logging("debug", readable=True)
    # What HTTP lets through; the server itself refuses the rest.
    strange = {b"user-agent": b"x\x9b2J", b"x-forwarded-for": b"9.9.9.9\x9b2J\x85forged"}
    for path in ("/%1b%5b2J%0aforged", "/api/%00%0d%0aforged", "/deployments/%e2%80%ae"):
        answer = portal.client.get(path, headers=strange)
        assert answer.status_code == 404
    answer = portal.client.post("/sign-in", data={"token": "wrong"}, headers=strange)
    assert answer.status_code == 403

    said = written()

    assert "sign_in_refused" in said
    assert "9.9.9.9\\x9b2J\\x85forged" in said, "it is known by what it says"
    assert not {"\x9b", "\x85", "\u202e"} & set(said)
    assert "\x1b[2J" not in said
    assert not [line for line in said.splitlines() if line.startswith("forged")]
