"""The prober against small real servers: what answers, what does not, and what it must never send."""

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.observation.probe import Prober, ProbeResult
from tests.servers import AMPLE_SECONDS

pytestmark = pytest.mark.anyio

HOST = "ada.stacks.example"


class Site:
    """A small server, with what was asked of it."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.server_names: list[str | None] = []
        self.connections = 0
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


Handler = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def site(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    served = Site()
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        served.connections += 1
        try:
            while True:
                served.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                await handler(writer)
        except (OSError, EOFError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    if context is not None:
        context.sni_callback = lambda _socket, name, _context: served.server_names.append(name)
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answers(status: int, *, headers: bytes = b"", body: bytes = b"") -> Handler:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d X\r\n%scontent-length: %d\r\n\r\n" % (status, headers, len(body)) + body)
        await writer.drain()

    return answer


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def probing(connect_to: str | None = None, seconds: float = AMPLE_SECONDS) -> AsyncIterator[Prober]:
    """A prober that gives up no site for being slow; a test of one that says nothing sets its own deadline."""
    prober = Prober(connect_to, timeout=seconds)
    try:
        yield prober
    finally:
        await prober.close()


@pytest.mark.parametrize("status", [200, 204, 301, 401, 404, 502, 504])
async def test_a_status_is_what_was_answered(status: int):
    async with site(answers(status)) as served, probing() as prober:
        assert await prober.probe(f"http://{served.address}/") == ProbeResult(status)


async def test_a_redirect_is_an_answer_and_not_followed():
    async with site(answers(302, headers=b"location: http://127.0.0.1:1/\r\n")) as served, probing() as prober:
        assert await prober.probe(f"http://{served.address}/") == ProbeResult(302)
    assert len(served.heads) == 1


async def test_nothing_that_identifies_anybody_is_sent():
    async with site(answers(401, headers=b"set-cookie: a=b\r\n")) as served, probing(served.address) as prober:
        await prober.probe(f"http://{HOST}/global/health")
        await prober.probe(f"http://{HOST}/global/health")

    for head in served.heads:
        assert head.startswith("GET /global/health HTTP/1.1\r\n")
        assert "authorization" not in head.lower()
        assert "\r\ncookie:" not in head.lower(), "what one stack sets is not told to another"


@pytest.mark.parametrize("port", ["", ":8080"])
async def test_connecting_elsewhere_keeps_the_host(port: str):
    async with site(answers(401)) as served, probing(served.address) as prober:
        assert (await prober.probe(f"http://{HOST}{port}/")).status == 401
    assert f"\r\nhost: {HOST}{port}\r\n" in served.heads[0].lower()


async def test_an_address_that_nobody_listens_at_refuses():
    async with site(answers(200)) as served:
        pass
    async with probing() as prober:
        assert await prober.probe(f"http://{served.address}/") == ProbeResult(None, "address_refused")
        assert await prober.probe(f"https://{served.address}/") == ProbeResult(None, "address_refused")


async def test_a_name_that_does_not_resolve():
    async with probing() as prober:
        assert await prober.probe("http://no-such-host.invalid/") == ProbeResult(None, "address_unresolved")


async def test_a_server_that_hangs_up():
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with site(hang_up) as served, probing() as prober:
        assert await prober.probe(f"http://{served.address}/") == ProbeResult(None, "address_refused")


async def test_a_server_that_speaks_no_http():
    async def banner(writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()

    async with site(banner) as served, probing() as prober:
        assert await prober.probe(f"http://{served.address}/") == ProbeResult(None, "address_refused")


async def test_an_address_that_stays_silent_is_given_up_when_its_time_is_over():
    async with site(silence) as served, probing(seconds=0.5) as prober:
        began = time.monotonic()
        results = await asyncio.gather(
            prober.probe(f"http://{served.address}/"), prober.probe(f"http://{served.address}/x")
        )
        assert time.monotonic() - began >= 0.45
    assert set(results) == {ProbeResult(None, "address_timeout")}


async def test_an_endless_body_is_left_where_it_is():
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        while True:
            writer.write(b"data: x\n\n" * 1000)
            await writer.drain()
            await asyncio.sleep(0.01)

    async with site(endless) as served, probing() as prober:
        assert await prober.probe(f"http://{served.address}/") == ProbeResult(200)


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that nobody has reason to trust, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def tls(self_signed: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed)
    return context


@pytest.mark.parametrize("status", [401, 404, 502])
async def test_a_certificate_that_is_not_trusted_is_noted_and_passed_over(tls: ssl.SSLContext, status: int):
    async with site(answers(status), tls) as served, probing(served.address) as prober:
        result = await prober.probe(f"https://{HOST}/")

    assert result == ProbeResult(status, tls_trouble=True)
    assert set(served.server_names) == {HOST}, "the proxy chooses the certificate by the name"
    assert f"host: {HOST}\r\n" in served.heads[0].lower()


async def test_tls_to_a_server_without_it_is_refused():
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    async with server, probing(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as prober:
        result = await prober.probe(f"https://{HOST}/")

    assert result == ProbeResult(None, "address_refused", tls_trouble=True)


async def test_plain_http_to_a_server_with_tls_is_refused(tls: ssl.SSLContext):
    async with site(answers(200), tls) as served, probing(served.address) as prober:
        assert (await prober.probe(f"http://{HOST}/")).status is None
