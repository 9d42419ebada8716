"""What the check says of the registry and of DNS, and how its lines look."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from app.cli.check import Finding, examine
from app.store import schema
from app.store.engine import Database
from app.store.migrations import migrate
from tests.servers import portal_settings, sqlite_url

pytestmark = pytest.mark.anyio


async def find(item: str, tmp_path, resolve=lambda _: ["203.0.113.7"], **values) -> Finding:
    # No Dokploy: its own items are tried as a process.
    settings = portal_settings("http://127.0.0.1:9", sqlite_url(tmp_path), **values)
    return next(each for each in await examine(settings, resolve) if each.item == item)


CREDENTIALS = {"stack_registry_username": "robot", "stack_registry_password": "hush-hush"}


@pytest.mark.parametrize(
    ("values", "result", "says"),
    [
        ({}, "ok", "the image at ghcr.io must be public"),
        ({"stack_image": "ada/image:1"}, "ok", "the image at docker.io must be public"),
        ({"stack_image": "image"}, "ok", "the image at docker.io must be public"),
        ({**CREDENTIALS, "stack_registry_url": "ghcr.io"}, "ok", "credentials for ghcr.io"),
        ({**CREDENTIALS, "stack_registry_url": "https://ghcr.io/example"}, "ok", "credentials for ghcr.io"),
        ({**CREDENTIALS, "stack_image": "ada/image:1"}, "ok", "credentials for docker.io"),
        (
            {**CREDENTIALS, "stack_registry_url": "https://index.docker.io/v1/", "stack_image": "ada/image"},
            "ok",
            "credentials for docker.io",
        ),
        (
            {**CREDENTIALS, "stack_registry_url": "localhost:5000", "stack_image": "localhost:5000/image"},
            "ok",
            "credentials for localhost:5000",
        ),
        (CREDENTIALS, "warn", "the image is at ghcr.io, and the credentials are for docker.io"),
        ({"stack_registry_url": "ghcr.io"}, "warn", "no credentials are"),
    ],
)
async def test_credentials_belong_to_the_registry_of_the_image(tmp_path, values, result: str, says: str):
    finding = await find("registry", tmp_path, **values)

    assert finding.result == result
    assert says in finding.detail
    assert bool(finding.do) == (result != "ok")


async def test_a_name_that_nobody_has_is_looked_up(tmp_path):
    asked = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return ["203.0.113.7", "2001:db8::7"]

    finding = await find("dns", tmp_path, resolve, stack_probe_address=None)
    await find("dns", tmp_path, resolve, stack_probe_address=None)

    assert (finding.result, finding.detail) == ("ok", "*.stacks.example leads to 203.0.113.7, 2001:db8::7")
    assert asked[0] != asked[1]
    assert all(name.startswith("check-") and name.endswith(".stacks.example") for name in asked)


@pytest.mark.parametrize("error", [OSError("Name or service not known"), UnicodeError("label too long"), None])
async def test_a_name_without_an_address(tmp_path, error: Exception | None):
    def resolve(_: str) -> list[str]:
        if error:
            raise error
        return []

    finding = await find("dns", tmp_path, resolve, stack_probe_address=None)

    assert finding.result == "fail"
    assert finding.detail.endswith(".stacks.example has no address")
    assert "*.stacks.example" in finding.do


async def test_no_name_is_looked_up_where_the_portal_needs_none(tmp_path):
    def resolve(_: str) -> list[str]:
        raise AssertionError

    finding = await find("dns", tmp_path, resolve, stack_probe_address="traefik:443")

    assert finding.result == "skip"


@pytest.mark.parametrize(
    ("limit", "names", "result", "says"),
    [
        (0, 2, "ok", "2; MAX_STACKS sets no limit"),
        (3, 2, "ok", "2 of 3"),
        (3, 3, "warn", "3 of 3: room runs out"),
    ],
)
async def test_stacks_are_counted_against_their_limit(tmp_path, limit: int, names: int, result: str, says: str):
    database = Database(sqlite_url(tmp_path))
    await migrate(database)
    row = {
        "owner": "",
        "template": "",
        "plan": {},
        "manage_key_hash": "",
        "secrets": b"",
        "created_at": datetime.now(UTC),
    }
    rows = [{"id": str(number), "name": str(number), **row} for number in range(names)]
    await database.write(lambda connection: connection.execute(insert(schema.stack), rows))
    await database.close()

    found = await find("stacks", tmp_path, max_stacks=limit)

    assert (found.result, found.detail) == (result, says)
    assert bool(found.do) is (result == "warn")
