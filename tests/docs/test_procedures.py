"""Procedures of DEPLOYMENT.md and the how-to pages, done as they are written."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.docs.markdown import ROOT, blocks, read, section
from tests.programs import need_program
from tests.providers import serve_scripted_provider
from tests.servers import TOKEN, Emulator, PortalServer
from tests.waiting import WAIT_SECONDS


def test_a_key_is_made_as_the_document_says_and_works(
    emulator: Emulator, start_portal: Callable[..., PortalServer], tmp_path: Path
):
    command = next(
        body for _, body in blocks(section("DEPLOYMENT.md", "Create a Dokploy API key")) if "createApiKey" in body
    )
    # The emulator knows no cookies, and an existing key does as well.
    command = command.replace("-b dokploy.cookies", '-H "x-api-key: sandbox-token"')
    need_program("curl")
    environment = {"PATH": os.environ["PATH"], "DOKPLOY_URL": emulator.url}
    done = subprocess.run(
        ["bash", "-eu"],
        input=command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )
    found = re.fullmatch(r'"key":"([^"]+)"\n', done.stdout)
    assert found, done.stdout

    portal = start_portal(dokploy_api_token=found[1])
    for name in ("ada", "bob"):  # more calls than a limited key allows
        assert portal.wait(portal.deploy(name)["deploymentId"])["conclusion"] == "succeeded"


def test_the_check_tries_what_the_document_shows(emulator: Emulator, tmp_path: Path):
    ((_, shown),) = blocks(section("DEPLOYMENT.md", "Check the setup"), "text")
    ((_, example),) = blocks(section("DEPLOYMENT.md", "Set the environment"), "ini")
    given = dict(line.split("=", 1) for line in example.splitlines())
    with serve_scripted_provider() as provider:
        given |= {"DOKPLOY_URL": emulator.url, "DOKPLOY_API_TOKEN": TOKEN, "OIDC_ISSUER": provider.issuer}
        # In production the provider's address would have to be https.
        given |= {"APP_ENV": "development"}
        done = subprocess.run(
            [sys.executable, "-m", "app", "check"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=True,
        )

    assert [line.split()[:2] for line in done.stdout.splitlines()] == [line.split()[:2] for line in shown.splitlines()]
    assert done.stderr == ""


def test_dokploys_token_can_be_changed(emulator: Emulator, start_portal: Callable[..., PortalServer]):
    body = {"name": "portal", "rateLimitEnabled": False, "metadata": {"organizationId": "any"}}
    made = httpx.post(
        f"{emulator.url}/api/user.createApiKey",
        json=body,
        headers={"x-api-key": TOKEN},
        timeout=WAIT_SECONDS,
        trust_env=False,
    )
    before = start_portal()
    key = before.deploy("ada")["manageKey"]
    before.stop()

    after = start_portal(dokploy_api_token=made.json()["key"])

    answer = after.client.delete("/api/stack/ada", headers={"authorization": f"Bearer {key}"})
    assert answer.json()["removed"]


def test_a_wrong_token_is_told_in_health(start_portal: Callable[..., PortalServer]):
    portal = start_portal(dokploy_api_token="not-the-token")

    record = portal.wait(portal.deploy("ada")["deploymentId"])

    assert record["problem"]["code"] == "dokploy_key_refused"
    assert portal.client.get("/health").json()["dokploy"]["trouble"] == "key_refused"


def test_a_backup_made_as_the_document_says_is_the_whole_record(
    start_portal: Callable[..., PortalServer], tmp_path: Path
):
    text = section("docs/how-to/backup.md", "Back up SQLite")
    found = re.search(r'python -c "(import sqlite3; .+)"\n', text)
    assert found
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    portal = start_portal(database_url=f"sqlite+aiosqlite:///{tmp_path}/one/portal.db")
    accepted = portal.deploy("ada")
    portal.wait(accepted["deploymentId"])
    headers = {"authorization": f"Bearer {accepted['manageKey']}"}
    password = portal.client.get("/api/stack/ada", headers=headers).json()["password"]

    subprocess.run(
        [sys.executable, "-c", found[1].replace("/data/", f"{tmp_path}/one/")], check=True, timeout=WAIT_SECONDS
    )
    portal.stop()
    (tmp_path / "one" / "backup.db").rename(tmp_path / "two" / "portal.db")

    with sqlite3.connect(tmp_path / "two" / "portal.db") as restored:
        assert restored.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    restored.close()
    again = start_portal(database_url=f"sqlite+aiosqlite:///{tmp_path}/two/portal.db")
    assert again.client.get("/api/stack/ada", headers=headers).json()["password"] == password
    assert again.client.delete("/api/stack/ada", headers=headers).json()["removed"]


def test_a_token_is_made_and_used_as_the_document_says(start_portal: Callable[..., PortalServer], tmp_path: Path):
    need_program("curl")
    make, use, *_ = (body for _, body in blocks(read("docs/how-to/access-tokens.md"), "sh"))
    portal = start_portal(database_url=f"sqlite+aiosqlite:///{tmp_path}/portal.db")
    settings = {"DATABASE_URL": portal.settings.database_url, "SECRET_KEY": portal.settings.secret_key[0]}
    settings |= {"DOKPLOY_URL": portal.settings.dokploy_base, "DOKPLOY_API_TOKEN": TOKEN}
    settings |= {"STACK_DOMAIN_SUFFIX": "localhost", "STACK_IMAGE": portal.settings.stack_image}
    start, follow = use.replace("https://portal.ai.example.com", str(portal.client.base_url).rstrip("/")).splitlines()
    script = [
        "TOKEN=$(" + make.strip().replace("docker exec ai-stack-deployer python", shlex.quote(sys.executable)) + ")",
        f'ID=$({start} | sed -E \'s/.*"deploymentId":"([^"]+)".*/\\1/\')',
        follow,
    ]

    done = subprocess.run(
        ["bash", "-eu"],
        input="\n".join(script),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=True,
    )

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert any("ada is ready" in event.get("message", "") for event in events)


def test_a_secret_key_can_be_changed_while_the_old_one_is_kept(start_portal: Callable[..., PortalServer]):
    old, new = "the-old-key-of-this-test", "the-new-key-of-this-test"
    before = start_portal(secret_key=old)
    accepted = before.deploy("ada")
    before.wait(accepted["deploymentId"])
    headers = {"authorization": f"Bearer {accepted['manageKey']}"}
    password = before.client.get("/api/stack/ada", headers=headers).json()["password"]
    before.stop()

    after = start_portal(secret_key=f"{new},{old}")

    assert after.client.get("/api/stack/ada", headers=headers).json()["password"] == password
    assert after.client.delete("/api/stack/ada", headers=headers).json()["removed"]
