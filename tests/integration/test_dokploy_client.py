"""The client against the emulator, over the wire: what goes wrong, what it is called, and what must not be told."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.dokploy import (
    ApplicationUpdate,
    DokployBadRequest,
    DokployClient,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployMisfit,
    DokployNotFound,
    DokployServerError,
    DokployTimeout,
    DokployUnreachable,
    DokployUnreadable,
)
from app.dokploy.circuit import Circuit
from app.dokploy.connection import MAX_ANSWER_BYTES
from app.dokploy.health import HealthWatch
from tests.integration.holding import wait_for_held
from tests.servers import TOKEN, Emulator
from tests.waiting import WAIT_SECONDS, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[DokployClient]:
    async with DokployClient(emulator.url, TOKEN, timeout=WAIT_SECONDS) as opened:
        yield opened


async def fails(call: Awaitable[Any], kind: type[DokployError]) -> DokployError:
    with pytest.raises(DokployError) as failed:
        await call
    assert type(failed.value) is kind, failed.value
    assert failed.value.__suppress_context__ or failed.value.__context__ is None, "a traceback would show the request"
    return failed.value


def calls(emulator: Emulator, name: str) -> int:
    count: int = emulator.state()["calls"].get(name, 0)
    return count


UPDATE = ApplicationUpdate(
    docker_image="x:1",
    username="the-robot",
    password="hush-hush-registry",
    registry_url="ghcr.io",
    env="PASSWORD=hush-hush-stack\nOTHER='hush hush other'",
    memory_limit="536870912",
    cpu_limit="1000000000",
)

# Every kind of trouble with an answer, and what it is called: fault, class, status, uncertain when writing.
STATUSES = [
    (400, DokployBadRequest, False),
    (403, DokployForbidden, False),
    (404, DokployNotFound, False),
    (409, DokployBadRequest, False),
    (413, DokployBadRequest, False),
    (429, DokployBadRequest, False),
    (500, DokployServerError, True),
    (502, DokployServerError, True),
    (503, DokployServerError, True),
]


@pytest.mark.parametrize(("status", "kind", "uncertain"), STATUSES)
async def test_a_status_is_a_class(
    client: DokployClient, emulator: Emulator, status: int, kind: type[DokployError], uncertain: bool
):
    emulator.fault("status", "project.create", status=status)

    error = await fails(client.create_project("ada", "marker"), kind)

    assert (error.call, error.status, error.uncertain) == ("project.create", status, uncertain)
    assert str(status) in str(error)
    assert emulator.state()["projects"] == []


async def test_a_permission_that_is_missing_is_no_wrong_key():
    """A 401 with a code: the key is right, but not for this object."""
    body = b'{"message":"No access","code":"UNAUTHORIZED","data":{"code":"UNAUTHORIZED","httpStatus":401}}'
    async with answering(401, body) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.delete_domain("x"), DokployForbidden)
    assert not error.uncertain


async def test_a_wrong_key_and_a_used_up_one_are_the_same_to_dokploy(emulator: Emulator):
    async with DokployClient(emulator.url, "another-key") as client:
        error = await fails(client.list_projects(), DokployKeyRefused)
    assert error.status == 401

    body = {"name": "portal", "metadata": {"organizationId": "x"}}
    async with httpx.AsyncClient(base_url=emulator.url, headers={"x-api-key": TOKEN}, verify=False) as http:
        made = (await http.post("/api/user.createApiKey", json=body)).json()
    async with DokployClient(emulator.url, made["key"]) as client:
        for _ in range(5):
            await client.version()
        await fails(client.version(), DokployKeyRefused)


async def test_a_database_that_is_down_is_not_the_keys_fault(client: DokployClient, emulator: Emulator):
    emulator.fault("database_down")

    error = await fails(client.create_project("ada", "m"), DokployDatabaseDown)

    assert not error.uncertain, "the key is looked up before anything is done"
    emulator.clear_faults()
    await client.create_project("ada", "m")


async def test_a_database_that_comes_back_is_waited_for_when_reading(client: DokployClient, emulator: Emulator):
    emulator.fault("database_down", times=2)  # the call itself, and the question what its 401 means

    assert await client.list_projects() == []


async def test_a_401_from_a_server_that_then_is_gone_is_unreachable():
    async def once(count: int) -> bytes | None:
        return response(401, b'{"message":"Unauthorized"}') if count == 1 else None

    async with serving(once) as (url, _), DokployClient(url, TOKEN, timeout=WAIT_SECONDS) as client:
        error = await fails(client.create_project("ada", "m"), DokployUnreachable)
    assert not error.uncertain


async def test_an_object_that_is_not_there(client: DokployClient):
    for call in (client.read_project("x"), client.remove_project("x"), client.delete_application("x")):
        await fails(call, DokployNotFound)
    assert await client.list_domains("x") == []
    assert await client.list_deployments("x") == []


@pytest.mark.parametrize("kind", ["html", "status", "drop_after"])
async def test_a_read_is_tried_three_times_and_a_write_once(client: DokployClient, emulator: Emulator, kind: str):
    emulator.fault(kind, "project.all", times=-1, **({"status": 502} if kind != "drop_after" else {}))
    emulator.fault(kind, "project.create", times=-1, **({"status": 502} if kind != "drop_after" else {}))

    with pytest.raises(DokployError):
        await client.list_projects()
    with pytest.raises(DokployError) as failed:
        await client.create_project("ada", "m")

    assert calls(emulator, "project.all") == (1 if kind == "html" else 3)
    assert calls(emulator, "project.create") == 1
    assert failed.value.uncertain


async def test_a_read_that_fails_twice_succeeds(client: DokployClient, emulator: Emulator):
    emulator.fault("status", "project.all", status=500, times=2)
    assert await client.list_projects() == []


async def test_a_read_that_is_refused_is_not_repeated(client: DokployClient, emulator: Emulator):
    emulator.fault("status", "project.all", status=400, times=-1)
    await fails(client.list_projects(), DokployBadRequest)
    assert calls(emulator, "project.all") == 1


async def test_a_write_whose_answer_is_lost_is_uncertain_and_was_done(client: DokployClient, emulator: Emulator):
    emulator.fault("drop_after", "project.create")

    error = await fails(client.create_project("ada", "m"), DokployUnreachable)

    assert error.uncertain
    assert [project["name"] for project in emulator.state()["projects"]] == ["ada"]


async def test_a_call_that_is_never_answered_ends_at_the_deadline(emulator: Emulator):
    emulator.fault("hang", "project.create")
    async with DokployClient(emulator.url, TOKEN, timeout=0.1) as client:
        error = await fails(client.create_project("ada", "m"), DokployTimeout)
    assert (error.uncertain, error.status) == (True, None)
    assert client.connection.reachable is False


async def test_a_slow_body_keeps_no_one_waiting_either():
    async def drip(count: int) -> bytes | None:
        return b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a'

    async with serving(drip, keep_open=True) as (url, _), DokployClient(url, TOKEN, timeout=0.1) as client:
        await fails(client.delete_domain("x"), DokployTimeout)


async def test_waiting_for_a_turn_does_not_count(emulator: Emulator):
    emulator.fault("hold", "project.all")
    async with DokployClient(emulator.url, TOKEN, timeout=WAIT_SECONDS, max_concurrency=1) as client:
        first = asyncio.create_task(client.list_projects())
        await asyncio.to_thread(wait_for_held, emulator, "project.all")
        client.connection.timeout = 0.1
        others = [asyncio.create_task(client.list_projects()) for _ in range(3)]
        await asyncio.sleep(0.3)  # longer than a call may take; a slow machine makes it longer yet
        client.connection.timeout = WAIT_SECONDS
        emulator.release()
        assert await asyncio.gather(first, *others) == [[]] * 4
    assert calls(emulator, "project.all") == 4, "none was too late"


async def test_only_so_many_calls_are_under_way():
    under_way = most = came = 0

    async def come_in_threes(count: int) -> bytes:
        nonlocal under_way, most, came
        came += 1
        under_way += 1
        most = max(most, under_way)
        third = -(-came // 3) * 3
        await until(lambda: came >= third)
        await asyncio.sleep(0.02)  # time for a fourth
        under_way -= 1
        return response(200, b"[]")

    async with serving(come_in_threes) as (url, _), DokployClient(url, TOKEN, max_concurrency=3) as client:
        client.connection.timeout = WAIT_SECONDS
        await asyncio.gather(*(client.list_projects() for _ in range(12)))
    assert (most, came) == (3, 12)


async def test_who_gives_up_gives_the_turn_back(emulator: Emulator):
    emulator.fault("hang", "project.all", times=1)
    async with DokployClient(emulator.url, TOKEN, timeout=2 * WAIT_SECONDS, max_concurrency=1) as client:
        hanging = asyncio.create_task(client.list_projects())
        await until(lambda: calls(emulator, "project.all") == 1)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        async with asyncio.timeout(WAIT_SECONDS):
            assert await client.version()


async def test_a_server_that_nobody_listens_at_is_unreachable(unused_port: int):
    async with DokployClient(f"http://127.0.0.1:{unused_port}", TOKEN) as client:
        error = await fails(client.create_project("ada", "m"), DokployUnreachable)
    assert not error.uncertain, "nothing was sent"
    assert client.connection.reachable is False


async def test_a_name_that_does_not_resolve():
    async with DokployClient("http://no-such-host.invalid", TOKEN, timeout=WAIT_SECONDS) as client:
        error = await fails(client.create_project("ada", "m"), DokployUnreachable)
    assert not error.uncertain


@pytest.mark.parametrize("status", [200, 404, 502])
async def test_a_page_in_dokploys_place(client: DokployClient, emulator: Emulator, status: int):
    for name in ("project.all", "project.create", "application.delete", "dockerVolume.removeVolume"):
        emulator.fault("html", name, status=status)

    await fails(client.list_projects(), DokployUnreadable)
    for call in (client.create_project("ada", "m"), client.delete_application("x"), client.remove_volume("v")):
        error = await fails(call, DokployUnreadable)
        assert (error.status, error.uncertain) == (status, True)


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_is_too_long(status: int):
    body = b'"' + b"x" * MAX_ANSWER_BYTES + b'"'
    async with answering(status, body) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.delete_domain("x"), DokployUnreadable)
    assert "too long" in error.message
    assert error.uncertain


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        *((body, DokployUnreadable) for body in (b"", b'{"message": 1', b"\xff\xfe", b"[" * 100_000)),
        *((body, DokployMisfit) for body in (b"null", b"{}", b"[1]", b'{"project": {}}')),
    ],
)
async def test_an_answer_of_another_shape(body: bytes, kind: type[DokployError]):
    async with answering(200, body) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.create_project("ada", "m"), kind)
    assert error.uncertain
    assert "ada" not in error.message


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"{}", b'{"message":null}', b"[" * 100_000])
async def test_an_error_of_another_shape(body: bytes):
    async with answering(500, body) as (url, _), DokployClient(url, TOKEN) as client:
        with pytest.raises(DokployError) as failed:
            await client.create_project("ada", "m")
    assert failed.value.uncertain


async def test_a_redirect_is_not_followed():
    """It would carry the key to whoever it names."""
    elsewhere = b"location: http://127.0.0.1:1/\r\n"
    async with answering(302, b"", elsewhere) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.list_projects(), DokployUnreadable)
    assert error.status == 302


async def test_the_server_hangs_up_before_it_answers():
    async def hang_up(count: int) -> bytes | None:
        return None

    async with serving(hang_up) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.create_project("ada", "m"), DokployUnreachable)
    assert error.uncertain, "it may have been read"


async def test_a_create_is_never_sent_on_a_connection_that_the_server_is_about_to_close():
    """Node closes a connection that was idle for 5 s, and whether it still read what came then nobody knows."""
    peers: list[Any] = []

    async def answer(count: int) -> bytes:
        return response(200, b"[]")

    async with serving(answer, peers=peers) as (url, _), DokployClient(url, TOKEN) as client:
        await client.list_projects()
        used = len(peers)
        await asyncio.sleep(2.5)
        await fails(client.create_project("ada", "m"), DokployMisfit)
    assert len(peers) == used + 1


# Secrets


async def test_sql_and_its_parameters_are_not_told(client: DokployClient):
    """A NUL makes Dokploy answer with its SQL and everything we sent."""
    update = UPDATE.model_copy(update={"docker_image": "x\0"})

    error = await fails(client.update_application("x", update), DokployBadRequest)

    assert "Failed query" in error.message
    assert "params" not in error.message
    assert "hush" not in str(error)


async def test_what_was_sent_does_not_come_back():
    echo = (
        f"docker login -u the-robot -p hush-hush-registry; key {TOKEN}; hush-hush-stack and hush hush other; "
        "PASSWORD=hush-hush-stack\nOTHER='hush hush other'"
    )
    body = httpx.Response(500, json={"message": echo, "code": "INTERNAL_SERVER_ERROR"}).content
    async with answering(500, body) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.update_application("x", UPDATE), DokployServerError)
    for secret in ("hush", TOKEN, "the-robot"):
        assert secret not in str(error)
    assert "docker login" in str(error)


@pytest.mark.parametrize("before", range(480, 510, 3))
async def test_a_long_page_that_repeats_the_key_is_masked_before_it_is_cut(before: int):
    page = b"<" * before + TOKEN.encode() + b">" * 600
    async with answering(502, page) as (url, _), DokployClient(url, TOKEN) as client:
        error = await fails(client.delete_domain("x"), DokployUnreadable)
    assert TOKEN[:4] not in error.message
    assert len(error.message) <= 500


async def test_the_key_goes_in_its_header_only():
    async with answering(200, b"[]") as (url, requests), DokployClient(url + "/", TOKEN) as client:
        await client.list_mounts("some id&x=1")
    head = requests[0].decode()
    assert f"x-api-key: {TOKEN}" in head
    assert head.count(TOKEN) == 1
    assert head.startswith("GET /api/mounts.listByServiceId?serviceId=some+id%26x%3D1&serviceType=application ")


async def test_the_question_what_a_401_means_carries_no_key():
    async with answering(401, b'{"message":"Unauthorized"}') as (url, requests), DokployClient(url, TOKEN) as client:
        await fails(client.delete_domain("x"), DokployKeyRefused)
    assert TOKEN not in requests[1].decode()


# Volumes, versions, health


async def test_a_volume_in_use_is_no_failure(client: DokployClient, emulator: Emulator):
    created = await client.create_project("ada", "m")
    application = await client.create_application("ada", created.environment.environment_id, "m")
    await client.update_application(application.application_id, UPDATE)
    await client.create_volume_mount(application.application_id, "v", "/workspace")
    await client.deploy_application(application.application_id, "title", "")
    await until(client.list_volumes)
    assert await client.remove_volume("v") is False
    await client.delete_application(application.application_id)
    await until(lambda: client.remove_volume("v"))
    assert await client.remove_volume("v") is True, "what is not there is removed"
    emulator.fault("status", "dockerVolume.removeVolume", status=500, times=3)
    await fails(client.remove_volume("v"), DokployServerError)


async def test_health_knows_what_is_wrong(emulator: Emulator):
    circuit = Circuit(failures=100, seconds=5)
    async with DokployClient(emulator.url, TOKEN, timeout=WAIT_SECONDS, circuit=circuit) as client:
        watch = HealthWatch(client)
        assert (watch.now.reachable, watch.now.version, watch.now.trouble) == (None, None, None)

        began = time.time()
        await watch.ask()
        assert (watch.now.reachable, watch.now.version, watch.now.trouble) == (True, "v0.30.2", None)
        assert began <= (watch.now.last_answer or 0) <= time.time()

        emulator.fault("database_down")
        await watch.ask()
        assert (watch.now.trouble, watch.now.version) == ("database_down", "v0.30.2")
        emulator.clear_faults()

        for kind, more, trouble in (
            ("hang", {}, "unreachable"),
            ("status", {"status": 403}, "forbidden"),
            ("status", {"status": 401}, "key_refused"),
        ):
            client.connection.timeout = 0.1 if kind == "hang" else WAIT_SECONDS
            emulator.fault(kind, "settings.getDokployVersion", times=-1, **more)
            await watch.ask()
            assert watch.now.trouble == trouble
            emulator.clear_faults()
        client.connection.timeout = WAIT_SECONDS

        await watch.ask()
        assert (watch.now.reachable, watch.now.trouble) == (True, None)


# Servers that answer in ways the emulator does not


Answer = Callable[[int], Awaitable[bytes | None]]


def response(status: int, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n%s\r\n" % (status, len(body), headers) + body


@asynccontextmanager
async def serving(
    answer: Answer, *, keep_open: bool = False, peers: list[Any] | None = None
) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve bytes as they are; the requests' heads are kept, and the addresses of connections. None hangs up."""
    heads: list[bytes] = []
    handlers: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers.add(task)
        if peers is not None:
            peers.append(writer.get_extra_info("peername"))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head)
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                await reader.readexactly(length)
                sent = await answer(len(heads))
                if sent is None:
                    return
                writer.write(sent)
                await writer.drain()
                if keep_open:
                    await reader.read()
        except (OSError, EOFError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads
    finally:
        server.close()
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)


@asynccontextmanager
async def answering(status: int, body: bytes, headers: bytes = b"") -> AsyncIterator[tuple[str, list[bytes]]]:
    async def answer(count: int) -> bytes:
        return response(status, body, headers)

    async with serving(answer) as served:
        yield served


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is taken, but on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
