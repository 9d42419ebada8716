"""Histories of a few stacks, as real runs against the emulator have written them: what a large store is cloned from."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import create_engine, select

from app.store.dialects import metadata
from tests.benchmarks.processes import emulator, portal
from tests.waiting import wait_until

Rows = Mapping[str, list[dict[str, Any]]]

OWNER: Final = {"Remote-User": "owner", "Remote-Email": "owner@example.com", "Remote-Name": "Owner"}
OPERATOR: Final = {"Remote-User": "operator", "Remote-Email": "operator@example.com"}
SETTINGS: Final = {
    "AUTH_MODE": "proxy",
    "PROXY_AUTH_ADDRESSES": "127.0.0.1",
    "ALLOWED_DOMAINS": "example.com",
    "OPERATOR_EMAILS": OPERATOR["Remote-Email"],
    "ADMIN_TOKEN": "a-token-that-is-only-for-measuring",
    # What is left over stays so.
    "LEFTOVERS_RETRY_SECONDS": "86400",
}


@dataclass(frozen=True)
class Share:
    """How many of the stacks that are gone have a history; standing ones and kept files have shares of their own."""

    history: str
    parts: int


STANDING: Final = ("short", "long")
KEPT: Final = "kept"
LEFT: Final = "left"
GONE: Final = (Share("erased", 12), Share("failed", 4), Share("revived", 2), Share("canceled", 1), Share("cleaned", 1))


class _Person:
    """Somebody with stacks, and an emulator that fails them."""

    def __init__(self, client: httpx.Client, emulator_url: str) -> None:
        self._client, self._emulator = client, emulator_url

    def fault(self, kind: str, **more: Any) -> None:
        self._client.post(f"{self._emulator}/sandbox/faults", json={"kind": kind, **more}).raise_for_status()

    def clear_faults(self) -> None:
        self._client.delete(f"{self._emulator}/sandbox/faults").raise_for_status()

    def begin(self, name: str) -> str:
        headers = {"Idempotency-Key": f"key-of-{name}"}
        answer = self._client.post("/api/deploy", json={"name": name}, headers=headers)
        return str(answer.raise_for_status().json()["deploymentId"])

    def wait(self, deployment_id: str) -> str:
        def over() -> str | None:
            record = self._client.get(f"/api/deployments/{deployment_id}").raise_for_status().json()
            return record["conclusion"] or None

        return wait_until(over, pause=0.05)

    def create(self, name: str) -> str:
        return self.wait(self.begin(name))

    def change(self, name: str, verb: str) -> str:
        answer = self._client.post(f"/api/stack/{name}/{verb}").raise_for_status()
        return self.wait(answer.json()["deploymentId"])

    def remove(self, name: str, volume: str) -> None:
        answer = self._client.delete(f"/api/stack/{name}", params={"volume": volume}, headers={"Prefer": "wait=30"})
        assert answer.status_code == 200, answer.text

    def cancel(self, name: str) -> None:
        self.fault("stuck", seconds=2)
        deployment_id = self.begin(name)
        time.sleep(1)
        self._client.post(f"/api/deployments/{deployment_id}/cancel").raise_for_status()
        self.wait(deployment_id)
        self.clear_faults()

    def fail(self, name: str) -> None:
        self.fault("fail")
        assert self.create(name) == "failed"
        self.clear_faults()

    def leave(self, name: str) -> None:
        self.fault("never_ready")
        self.fault("volume_in_use", times=-1)
        assert self.create(name) == "failed"
        self.clear_faults()


def _live(person: _Person, name: str) -> None:
    person.create(name)
    person.change(name, "redeploy")
    person.change(name, "password")
    person.fault("fail")
    person.change(name, "redeploy")
    person.clear_faults()
    person.change(name, "redeploy")


def _keep(person: _Person, name: str) -> None:
    person.create(name)
    person.change(name, "redeploy")
    person.change(name, "password")
    person.remove(name, "keep")


def _erase(person: _Person, name: str) -> None:
    person.create(name)
    person.remove(name, "erase")


def _revive(person: _Person, name: str) -> None:
    person.create(name)
    person.remove(name, "keep")
    person.remove(name, "erase")


def _clean(person: _Person, name: str) -> None:
    person.leave(name)
    person.remove(name, "erase")


_HISTORIES: Final[Mapping[str, Callable[[_Person, str], object]]] = {
    "short": _Person.create,
    "long": _live,
    "kept": _keep,
    "erased": _erase,
    "failed": _Person.fail,
    "revived": _revive,
    "canceled": _Person.cancel,
    "cleaned": _clean,
    "left": _Person.leave,
}


@contextmanager
def emulated() -> Iterator[str]:
    """An emulator in which Dokploy's part takes no time."""
    with emulator(DEPLOY_SECONDS=0.1, VOLUME_RELEASE_SECONDS=0) as url:
        yield url


def name_of(history: str) -> str:
    """What the stack with this history is called."""
    return f"seed-of-{history}"


def write_histories(emulator_url: str, path: Path) -> None:
    """Live through every history, in a SQLite file."""
    short = {"VERIFY_TIMEOUT_SECONDS": "1", "UNDO_TIMEOUT_SECONDS": "4"}
    with (
        portal(emulator_url, f"sqlite+aiosqlite:///{path}", **SETTINGS, **short) as (_, url, _ready),
        httpx.Client(base_url=url, headers={**OWNER, "Origin": url}, timeout=60, trust_env=False) as client,
    ):
        body = {"name": "seed", "scopes": ["stack:read"], "expiresInDays": 30}
        client.post("/api/tokens", json=body).raise_for_status()
        person = _Person(client, emulator_url)
        for history, live in _HISTORIES.items():
            live(person, name_of(history))
        answer = httpx.post(
            f"{url}/sign-in", data={"token": SETTINGS["ADMIN_TOKEN"]}, headers={"Origin": url}, trust_env=False
        )
        assert answer.status_code == 303, answer.text


def read_rows(path: Path) -> Rows:
    """Every row of every table, as Python has its values."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    engine.dispose()
    return rows
