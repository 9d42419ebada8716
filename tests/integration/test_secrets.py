"""No secret leaves the portal: not in a page, an event, a record, a problem, or a line of its log."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from app.i18n import LANGUAGES
from tests.servers import ADMIN_TOKEN, SUFFIX, TOKEN, Emulator

ROOT = Path(__file__).parents[2]
CANARIES = {
    "STACK_REGISTRY_PASSWORD": "canary-of-the-registry",
    "SECRET_KEY": "canary-that-signs-and-encrypts",
    "DOKPLOY_API_TOKEN": TOKEN,
    "ADMIN_TOKEN": ADMIN_TOKEN,
}
VARIABLE = "canary-within-a-variable"


@dataclass
class Served:
    """A portal in a process of its own, as an operator starts it, and every byte that came out of it."""

    client: httpx.Client
    log: Path
    seen: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, **request: object) -> httpx.Response:
        """Ask, and keep what was answered, headers included."""
        answer = self.client.request(method, path, **request)  # type: ignore[arg-type]
        self.seen.append(f"{answer.url} {answer.headers} {answer.text}")
        return answer


@pytest.fixture
def served(emulator: Emulator, tmp_path: Path) -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        **CANARIES,
        "APP_ENV": "development",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "LOG_LEVEL": "debug",
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'portal.db'}",
        "DOKPLOY_URL": emulator.url,
        "DOKPLOY_TIMEOUT_SECONDS": "0.5",
        "DOKPLOY_PATIENCE_SECONDS": "1",
        "DOKPLOY_CIRCUIT_SECONDS": "0.2",
        "STACK_DOMAIN_SUFFIX": SUFFIX,
        "STACK_IMAGE": "ghcr.io/example/oh-my-opencode:1.0",
        "STACK_PROBE_ADDRESS": emulator.url.removeprefix("http://"),
        "STACK_REGISTRY_URL": "ghcr.io",
        "STACK_REGISTRY_USERNAME": "robot",
        "STACK_VARIABLES": f'{{"API_KEY": "{VARIABLE}"}}',
        "CERTIFICATE_MODE": "none",
        "VERIFY_TIMEOUT_SECONDS": "1",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "app", "serve"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            yield Served(client, log)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


# What goes wrong while a stack is made; each of it is told, recorded and logged.
TROUBLES = (
    {"kind": "status", "call": "application.update", "status": 400},
    {"kind": "status", "call": "application.update", "status": 500, "times": -1},
    {"kind": "html", "call": "application.update", "times": -1},
    {"kind": "drop_after", "call": "application.update", "times": -1},
    {"kind": "status", "call": "project.create", "status": 401, "times": -1},
    {"kind": "fail"},
    {"kind": "open"},
)


def test_secrets_stay_where_they_belong(served: Served, emulator: Emulator):
    deployments: list[str] = []
    for number, trouble in enumerate((*TROUBLES, None)):
        if trouble:
            emulator.fault(**trouble)
        deployments.append(deploy_by_form(served, f"stack-{number}"))
        wait(served, deployments[-1])
        emulator.clear_faults()
    accepted = served.client.post("/api/deploy", json={"name": "by-api"}).json()
    deployments.append(accepted["deploymentId"])
    owner = {"asd_browser": served.client.cookies["asd_browser"]}
    served.client.cookies.clear()
    wait(served, accepted["deploymentId"])
    for deployment_id in deployments:
        look_at(served, deployment_id)
    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    for path in ("/", "/health", "/ready", "/docs", "/openapi.json", "/api/stacks", "/api/check/by-api", "/nothing"):
        for headers in ({}, key, {"accept": "text/html"}):
            served.ask("GET", path, headers=headers)
    served.ask("POST", "/api/plan", json={"name": "planned"})
    served.ask("POST", "/api/deploy", json={"name": "by-api"})
    served.ask("GET", "/api/stack/by-api", headers={"authorization": "Bearer wrong"})
    served.ask("GET", "/stacks/by-api/delete", headers=key)
    # The two places that show a password to the manager.
    shown = served.client.get("/api/stack/by-api", headers=key).json()["password"]
    changed = change_password(served, emulator, key)
    shown = served.client.get("/api/stack/by-api", headers=key).json()["password"]
    assert shown not in changed
    on_page = served.client.get(f"/deployments/{deployments[-2]}", headers=cookie(owner)).text
    passwords = emulated_passwords(emulator) | changed
    assert shown in passwords
    assert any(password in on_page for password in passwords)
    served.ask("DELETE", "/api/stack/by-api", headers=key)

    everything = "\n".join(served.seen) + served.log.read_text()

    assert "deployment_completed" in served.log.read_text()
    assert served.log.read_text().count("step_failed") >= 6
    secrets = {
        **CANARIES,
        "a variable's value": VARIABLE,
        "a manage key": accepted["manageKey"],
        "a cookie": owner["asd_browser"],
    }
    secrets |= {f"password {number}": password for number, password in enumerate(passwords)}
    assert [name for name, secret in secrets.items() if secret in everything] == []


def deploy_by_form(served: Served, name: str) -> str:
    """Deploy as a browser does; the answer sets the cookie, so it is not among what must be free of it."""
    answer = served.client.post("/deploy", data={"name": name})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def wait(served: Served, deployment_id: str) -> None:
    deadline = time.monotonic() + 20
    while served.client.get(f"/api/deployments/{deployment_id}").json()["conclusion"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def look_at(served: Served, deployment_id: str) -> None:
    """Look at everything that can be seen of a deployment, as a stranger."""
    for lang in LANGUAGES:
        served.ask("GET", f"/deployments/{deployment_id}", params={"lang": lang}, headers={"accept": "text/html"})
        served.ask("GET", f"/api/deployments/{deployment_id}", params={"lang": lang})
        for accept in ("text/event-stream", "application/x-ndjson"):
            events = served.ask(
                "GET", f"/api/deployments/{deployment_id}/events?lang={lang}", headers={"accept": accept}
            )
            assert "deployment_completed" in events.text


def change_password(served: Served, emulator: Emulator, key: dict[str, str]) -> set[str]:
    """Change it, at first in vain; return what it was, or was meant to be, on the way."""
    seen = {served.client.get("/api/stack/by-api", headers=key).json()["password"]}
    for trouble in ({"kind": "html", "call": "application.update", "times": -1}, {"kind": "fail"}, {"kind": "open"}):
        emulator.fault(**trouble)
        answer = served.ask("POST", "/api/stack/by-api/password", headers=key)
        wait(served, answer.json()["deploymentId"])
        emulator.clear_faults()
        look_at(served, answer.json()["deploymentId"])
        seen.add(served.client.get("/api/stack/by-api", headers=key).json()["password"])
    assert len(seen) == 2
    again = served.ask("POST", "/api/stack/by-api/password", headers=key).json()
    wait(served, again["deploymentId"])
    look_at(served, again["deploymentId"])
    return seen


def cookie(cookies: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def emulated_passwords(emulator: Emulator) -> set[str]:
    """Every stack's password, as Dokploy was told it."""
    envs = "\n".join(application["env"] or "" for application in emulator.state()["applications"])
    passwords = set(re.findall(r"^OPENCODE_SERVER_PASSWORD=\"?([^\"\n]+)", envs, re.MULTILINE))
    assert len(passwords) == 2
    return passwords
