"""No secret leaves the portal: recognizable ones go in, and everything that comes out is searched for each of them.

A portal in a process of its own deploys, redeploys, fails, undoes, cancels and removes, its log at `debug`, before a
Dokploy that repeats whatever it was sent. Then every page for every kind of caller, every answer, stream, record, line
of the log and byte of the store is searched, in every form in which a secret could be written.
"""

import asyncio
import base64
import html
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import httpx
import pytest
from sqlalchemy import Connection, select, text

from app.i18n import LANGUAGES
from app.security.vault import Vault
from app.stacks.templates import StackSecrets
from app.store import schema
from app.store.engine import Database, metadata
from app.web.auth.authorization import RULES
from tests.integration.holding import wait_for_held
from tests.ports import reserve_port
from tests.servers import NO_LIMITS_IN_ENVIRONMENT, SUFFIX, TOKEN, Emulator, http_client
from tests.waiting import WAIT_SECONDS, wait_until

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "STACK_REGISTRY_PASSWORD": "canary-of-the-registry",
    "SECRET_KEY": "canary-that-signs-and-encrypts",
    "DOKPLOY_API_TOKEN": TOKEN,
    "ADMIN_TOKEN": "canary-of-the-operator",
}
VARIABLE = 'canary "within" a variable: é/&+'
DATABASE_PASSWORD = "canary-of-the-database"
IDEMPOTENCY_KEY = "canary-of-idempotency"


def forms(secret: str) -> set[str]:
    """Each way in which a secret could be written: in JSON within a page within an address, even."""
    written = {secret}
    for _ in range(3):
        for each in list(written):
            written |= {json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1], html.escape(each)}
            written |= {quote(each), quote(each, safe=""), quote_plus(each), repr(each)[1:-1]}
    octets = secret.encode()
    encoded = {base64.b64encode(octets).decode().rstrip("="), base64.urlsafe_b64encode(octets).decode().rstrip("=")}
    return {*written, *encoded, *(each[::-1] for each in written)}


def found(secrets: dict[str, str], texts: dict[str, str]) -> list[str]:
    """Where a secret stands, and how it is written there."""
    written = [(what, form) for what, secret in secrets.items() for form in forms(secret)]
    return [f"{what} as {form} in {where}" for where, text in texts.items() for what, form in written if form in text]


@dataclass
class Served:
    """A portal in a process of its own, as an operator starts it, and every byte that came out of it."""

    client: httpx.Client
    log: Path
    database_url: str
    seen: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, who: str = "a stranger", **request: Any) -> httpx.Response:
        """Ask, and keep what was answered, headers included."""
        answer = self.client.request(method, path, **request)
        self.seen[f"{len(self.seen)}: {method} {answer.request.url} for {who}, {answer.status_code}"] = (
            f"{answer.headers} {answer.text}"
        )
        return answer

    def wait(self, deployment_id: str) -> dict[str, Any]:
        """Wait until a deployment is over."""

        def over() -> dict[str, Any] | None:
            record: dict[str, Any] = self.client.get(f"/api/deployments/{deployment_id}").json()
            return record if record["conclusion"] else None

        return wait_until(over, tell=lambda: self.log.read_text()[-2000:], pause=0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store; on PostgreSQL its address holds a password."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'portal.db'}"
    url = str(request.getfixturevalue("postgres_url"))
    server = request.getfixturevalue("postgres")
    role = f"canary_{os.getpid()}"
    server.psql(
        f"DO $$ BEGIN CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{DATABASE_PASSWORD}'; "
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
    )
    return re.sub(r"//[^@/]*@", f"//{role}:{DATABASE_PASSWORD}@", url)


@pytest.fixture
def served(emulator: Emulator, store: str, tmp_path: Path) -> Iterator[Served]:
    port = reserve_port()
    settings = {
        **SETTINGS,
        **NO_LIMITS_IN_ENVIRONMENT,
        "APP_ENV": "development",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_LEVEL": "debug",
        "DATABASE_URL": store,
        "DOKPLOY_URL": emulator.url,
        # So long is a create waited for that may still land; a call that takes longer is made again.
        "DOKPLOY_TIMEOUT_SECONDS": "2",
        "DOKPLOY_PATIENCE_SECONDS": "3",
        "DOKPLOY_CIRCUIT_SECONDS": "0.2",
        "STACK_DOMAIN_SUFFIX": SUFFIX,
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "STACK_PROBE_ADDRESS": emulator.url.removeprefix("http://"),
        "STACK_REGISTRY_URL": "ghcr.io",
        "STACK_REGISTRY_USERNAME": "robot",
        "STACK_VARIABLES": json.dumps({"API_KEY": VARIABLE}),
        "CERTIFICATE_MODE": "none",
        "VERIFY_TIMEOUT_SECONDS": str(WAIT_SECONDS),
        "UNDO_TIMEOUT_SECONDS": "1",
        "RUNNER_LEASE_SECONDS": str(WAIT_SECONDS),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "app", "serve"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        address = f"http://127.0.0.1:{port}"
        with http_client(base_url=address, headers={"origin": address}) as client:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    client.get("/health")
                except httpx.TransportError:
                    return False
                return True

            wait_until(answers, tell=log.read_text, pause=0.05)
            yield Served(client, log, store)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=WAIT_SECONDS) == 0


ALWAYS: dict[str, Any] = {"times": -1}
# What goes wrong while a stack is made; each of it is told, recorded and logged.
TROUBLES: tuple[dict[str, Any], ...] = (
    {"kind": "status", "call": "application.update", "status": 400},
    {"kind": "html", "call": "application.update", **ALWAYS},
    {"kind": "drop_after", "call": "application.update", **ALWAYS},
    {"kind": "status", "call": "project.create", "status": 401, **ALWAYS},
    {"kind": "fail"},
    {"kind": "open"},
    *(
        {"kind": kind, "call": call, "status": status, "times": times}
        for kind in ("echo", "echo_page")
        for call, status, times in (
            ("application.update", 400, 1),
            ("application.update", 500, -1),
            # Later calls repeat what earlier ones have sent.
            ("domain.create", 409, 1),
            ("application.deploy", 400, 1),
            ("deployment.all", 500, 40),
            ("docker.getServiceContainersByAppName", 500, 40),
        )
    ),
)


def test_no_canary_gets_out(served: Served, emulator: Emulator):
    deployments = []
    archive_secrets(served.database_url)
    # Which store it is makes no difference to what Dokploy says, so that SQLite alone sees every trouble.
    troubles = TROUBLES if "sqlite" in served.database_url else TROUBLES[::3]
    for number, trouble in enumerate((*troubles, None)):
        if trouble:
            emulator.fault(**trouble)
        deployments.append(deploy_by_form(served, f"stack-{number}"))
        served.wait(deployments[-1])
        emulator.clear_faults()
    whole = f"stack-{len(troubles)}"
    headers = {"Idempotency-Key": IDEMPOTENCY_KEY}
    accepted = served.client.post("/api/deploy", json={"name": "by-api"}, headers=headers).json()
    assert served.client.post("/api/deploy", json={"name": "by-api"}, headers=headers).json() == accepted
    assert served.wait(accepted["deploymentId"])["conclusion"] == "succeeded"
    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    first_password = served.client.get("/api/stack/by-api", headers=key).json()["password"]
    deployments += [accepted["deploymentId"], *fail_later(served, emulator, key)]
    token = make_token(served)
    offer = served.client.post("/api/stack/by-api/offer", headers=key).json()["code"]
    sign_in = served.client.post("/sign-in", data={"token": SETTINGS["ADMIN_TOKEN"]})
    assert sign_in.status_code == 303
    cookies = dict(served.client.cookies)
    served.client.cookies.clear()

    callers = {
        "a stranger": {},
        "a wrong key": {"authorization": "Bearer asd_wrong"},
        "whoever has the key": key,
        "the browser": {"cookie": f"asd_browser={cookies['asd_browser']}"},
        "whoever has a token": {"authorization": f"Bearer {token}"},
        "the operator": {"authorization": f"Bearer {SETTINGS['ADMIN_TOKEN']}"},
        "the operator's browser": {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())},
    }
    look_at_everything(served, callers, deployments, [whole, "by-api"], len(troubles))
    provoke(served, callers)

    secrets = {
        **SETTINGS,
        "a variable's value": VARIABLE,
        "a manage key": accepted["manageKey"],
        "a token": token,
        "the code of an offer": offer,
        "an Idempotency-Key": IDEMPOTENCY_KEY,
        **{f"the cookie {name}": value for name, value in cookies.items() if name.startswith("asd_")},
    }
    if "postgresql" in served.database_url:
        secrets["the database's password"] = DATABASE_PASSWORD
    assert first_password not in passwords_in(served.database_url, "stack"), "it was changed"
    passwords = passwords_in(served.database_url, "archive")
    assert len(passwords) == len(deployments) - 2, "one a stack, and the changed one; two deployments changed none"
    assert first_password in passwords
    of_stacks = {f"password {number}": password for number, password in enumerate(sorted(passwords))}
    log = served.log.read_text()
    # That it looks where there would be something to see.
    assert log.count("step_failed") >= len(troubles)
    assert log.count("Command failed:") >= 4, "what Dokploy said is in the log"
    assert "[masked]" in log
    assert "Traceback" in log
    shown = [where for where, text in served.seen.items() if any(each in text for each in of_stacks.values())]
    managed = ("whoever has the key", "the browser", "the operator")
    assert shown
    assert all(any(f" for {who}" in where for who in managed) for where in shown), shown
    assert all(re.search(r"/(stacks?|deployments)/[^/?]+(\?[^/]*)? for ", where) for where in shown), shown
    assert found(secrets, served.seen) == []
    not_shown = {where: text for where, text in served.seen.items() if where not in shown}
    assert found(of_stacks, {**not_shown, "the log": log, "the store": read_store(served.database_url)}) == []
    assert found(secrets, {"the log": log, "the store": read_store(served.database_url)}) == []


def deploy_by_form(served: Served, name: str) -> str:
    """Deploy as a browser does; the answer sets the cookie, so it is not among what must be free of it."""

    def taken_in() -> httpx.Response | None:
        # Once Dokploy is asked again: what went wrong before may have been an outage.
        answer = served.client.post("/deploy", data={"name": name})
        return None if answer.status_code == 503 else answer

    answer = wait_until(taken_in, pause=0.1)
    assert answer.status_code == 303, (answer.text, served.log.read_text()[-2000:])
    return answer.headers["location"].rpartition("/")[2]


def fail_later(served: Served, emulator: Emulator, key: dict[str, str]) -> list[str]:
    """Redeploy, fail at that, cancel, and fail at removing."""
    client = served.client
    deployments = []
    for fault in (None, {"kind": "echo", "call": "application.update", **ALWAYS}):
        if fault:
            emulator.fault(**fault)
        answer = client.post("/api/stack/by-api/redeploy", headers=key)
        assert answer.status_code == 202, answer.text
        deployments.append(answer.json()["statusUrl"].rpartition("/")[2])
        served.wait(deployments[-1])
        emulator.clear_faults()
    changed = client.post("/api/stack/by-api/password", headers=key).json()["deploymentId"]
    deployments.append(changed)
    assert served.wait(changed)["conclusion"] == "succeeded"
    emulator.fault("stuck")
    canceled = client.post("/api/deploy", json={"name": "canceled"}).json()
    bearer = {"authorization": f"Bearer {canceled['manageKey']}"}
    wait_for_held(emulator, "application.deploy")
    assert client.post(f"/api/deployments/{canceled['deploymentId']}/cancel", headers=bearer).status_code == 202
    emulator.release()
    assert served.wait(canceled["deploymentId"])["conclusion"] == "canceled"
    emulator.clear_faults()
    removed = client.post("/api/deploy", json={"name": "removed"}).json()
    served.wait(removed["deploymentId"])
    bearer = {"authorization": f"Bearer {removed['manageKey']}"}
    emulator.fault("echo", "application.delete", **ALWAYS)
    served.ask("DELETE", "/api/stack/removed", "whoever has its key", headers={**bearer, "prefer": "wait=10"})
    emulator.clear_faults()
    return [*deployments, canceled["deploymentId"], removed["deploymentId"]]


def make_token(served: Served) -> str:
    """A token of the operator's that may list and follow, and no more."""
    body = {"name": "canary", "scopes": ["stack:read", "deploy:read"]}
    operator = {"authorization": f"Bearer {SETTINGS['ADMIN_TOKEN']}"}
    return str(served.client.post("/api/tokens", json=body, headers=operator).json()["token"])


# Of deployments that were begun in one and the same way the other callers see the same as one of these.
OF_EACH_DEPLOYMENT = ("a stranger", "the browser", "the operator")


def look_at_everything(
    served: Served, callers: dict[str, dict[str, str]], deployments: list[str], stacks: list[str], troubles: int
) -> None:
    """Every route that can be read, for every kind of caller; of the many troubles two have all callers."""
    routes = (route.replace("{name:text}", "{name}") for route in RULES if route.startswith("GET "))
    paths = sorted([*(route.removeprefix("GET ") for route in routes), "/static/portal.css"])
    assert len(paths) > 20
    few = {who: callers[who] for who in OF_EACH_DEPLOYMENT}
    whose = {each: few if 2 <= number < troubles else callers for number, each in enumerate(deployments)}
    for path in paths:
        if "{deployment_id}" in path:
            filled = {path.replace("{deployment_id}", each): those for each, those in whose.items()}
        elif "{name}" in path:
            filled = {path.replace("{name}", each): callers for each in stacks}
        else:
            filled = {path: callers}
        for each, those in filled.items():
            for who, headers in those.items():
                for accept in ("text/html", "text/event-stream" if each.endswith("/events") else "application/json"):
                    served.ask("GET", each, who, headers={"accept": accept, **headers})
    for deployment_id in deployments[:6]:
        for lang in LANGUAGES:
            served.ask("GET", f"/deployments/{deployment_id}?lang={lang}", headers={"accept": "text/html"})
            events = served.ask("GET", f"/api/deployments/{deployment_id}/events?lang={lang}")
            assert "deployment_completed" in events.text


def provoke(served: Served, callers: dict[str, dict[str, str]]) -> None:
    """Every way to be refused, and a mistake of ours with a traceback."""
    for who, headers in callers.items():
        json_body = {**headers, "content-type": "application/json"}
        served.ask("POST", "/api/plan", who, json={"name": "planned"}, headers=headers)
        served.ask("POST", "/api/deploy", who, json={"name": "by-api"}, headers=headers)
        served.ask("POST", "/api/deploy", who, content=b'{"name": ', headers=json_body)
        served.ask("POST", "/deploy", who, data={"name": "by-api"}, headers=headers)
        served.ask("GET", "/nothing", who, headers={**headers, "accept": "text/html"})
        served.ask("PUT", "/api/stacks", who, headers=headers)
    served.ask("POST", "/sign-in", data={"token": "wrong"})
    key_with_another_body = {"Idempotency-Key": IDEMPOTENCY_KEY, **callers["the browser"]}
    served.ask("POST", "/api/deploy", json={"name": "another"}, headers=key_with_another_body)
    transact(served.database_url, lambda each: each.execute(text("DROP TABLE leftover")))
    for path in ("/api/leftovers", "/operator", "/stacks", "/api/stack/by-api"):
        for who in ("the operator", "the operator's browser"):
            # The server itself closes a connection after a mistake, and would meet the next request on it.
            once = {**callers[who], "accept": "text/html", "connection": "close"}
            answer = served.ask("GET", path, who, headers=once)
            broke = answer.status_code == 500
            assert broke or path != "/api/leftovers" or who != "the operator", answer.text


def transact(database_url: str, work: Callable[[Connection], T]) -> T:
    """Do something in the store behind the portal's back."""

    async def run() -> T:
        database = Database(database_url)
        try:
            return await database.write(work)
        finally:
            await database.close()

    return asyncio.run(run())


def read_store(database_url: str) -> str:
    """Every byte that the store keeps."""
    if database_url.startswith("sqlite"):
        file = Path(database_url.partition(":///")[2])
        kept = [path for path in file.parent.glob(f"{file.name}*") if path.is_file()]
        assert sum(path.stat().st_size for path in kept) > 10_000
        return "\n".join(path.read_bytes().decode("latin-1") for path in kept)

    def read(connection: Connection) -> str:
        kept = [table for table in metadata.sorted_tables if table is not schema.leftover]
        return "\n".join(str([*connection.execute(select(table)).mappings()]) for table in kept)

    return transact(database_url, read)


def archive_secrets(database_url: str) -> None:
    """Have the store keep what it erases with a stack, so that it can be searched for."""
    statements = ["CREATE TABLE archive (secrets BYTEA)"]
    if database_url.startswith("sqlite"):
        for what in ("INSERT", "UPDATE OF secrets"):
            name = f"archive_{what[:6].lower()}"
            kept = "BEGIN INSERT INTO archive VALUES (NEW.secrets); END"
            statements.append(f"CREATE TRIGGER {name} AFTER {what} ON stack {kept}")
    else:
        statements += [
            (
                "CREATE FUNCTION archive() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN INSERT INTO archive VALUES (NEW.secrets); RETURN NEW; END $$"
            ),
            "CREATE TRIGGER archive AFTER INSERT OR UPDATE OF secrets ON stack FOR EACH ROW EXECUTE FUNCTION archive()",
        ]
    transact(database_url, lambda each: [each.exec_driver_sql(statement) for statement in statements])


def passwords_in(database_url: str, table: str) -> set[str]:
    """Every password in a table of secrets; those of stacks that are gone are in the archive."""
    vault = Vault([SETTINGS["SECRET_KEY"]])
    kept = text(f"SELECT secrets FROM {table} WHERE length(secrets) > 0")
    sealed = transact(database_url, lambda each: [bytes(row.secrets) for row in each.execute(kept)])
    return {StackSecrets.decrypt(secrets, vault).password for secrets in sealed}
