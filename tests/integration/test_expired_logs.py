"""A deployment whose log was deleted: its record, its pages and its streams still say how it ended, and what is gone."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.config.settings import load_settings
from app.i18n import LANGUAGES
from app.observation.retention import Keep, Retention
from app.store.engine import Database
from tests.integration.test_pages import Page
from tests.integration.test_streams import RELOAD, read
from tests.servers import ADMIN_TOKEN, Emulator, PortalServer

OPERATOR = {"authorization": f"Bearer {ADMIN_TOKEN}"}
AGE = timedelta(days=91, minutes=1)
SENTENCES = {
    "en": "The log was deleted after 91 days.",
    "nl": "Het logboek is na 91 dagen verwijderd.",
    "de": "Das Protokoll wurde nach 91 Tagen gelöscht.",
    "fr": "Le journal a été supprimé après 91 jours.",
    "es": "El registro se eliminó después de 91 días.",
    "ar": "حُذف السجل بعد 91 يومًا.",
}


def delete_logs(url: str) -> None:
    """Sweep as in three months."""

    async def sweep() -> None:
        database = Database(url)
        keep = Keep.of(load_settings(**NEEDED))
        await Retention(database, Keep(events=keep.events), may_act=lambda: True).sweep(datetime.now(UTC) + AGE)
        await database.close()

    asyncio.run(sweep())


NEEDED: dict[str, Any] = {
    "_env_file": None,
    "app_env": "development",
    "dokploy_url": "http://dokploy:3000",
    "dokploy_api_token": "x",
    "stack_domain_suffix": "ai.example.com",
    "stack_image": "image",
}


def show(portal: PortalServer, path: str, language: str = "en") -> Page:
    answer = portal.client.get(path, params={"lang": language}, headers={"accept": "text/html", **OPERATOR})
    assert answer.status_code == 200
    return Page(answer)


def stations(page: Page) -> list[tuple[str | None, str | None]]:
    found = [(each["data-station"], each["data-s"]) for each in page.all("li", **{"class": "stop"})]
    assert found
    return found


def head(page: Page) -> str:
    """The heading with the sentence below it."""
    found = re.search(r'<div class="head">.*?</div>', page.html, re.DOTALL)
    assert found
    return re.sub(r"\s+", " ", found[0])


def said(page: Page) -> str:
    return re.sub(r"\s+", " ", page.words)


@pytest.mark.parametrize("ending", ["created", "failed", "removed"])
def test_it_says_how_it_ended_and_that_the_log_is_gone(
    start_portal: Callable[..., PortalServer], emulator: Emulator, any_database_url: str, ending: str
):
    portal = start_portal(database_url=any_database_url, verify_timeout_seconds=0.3)
    if ending == "failed":
        emulator.fault("never_ready")
    accepted = portal.deploy("ada")
    deployment_id = accepted["deploymentId"]
    portal.wait(deployment_id)
    if ending == "removed":
        deployment_id = portal.client.delete(
            "/api/stack/ada", headers={**OPERATOR, "prefer": "respond-async, wait=0"}
        ).json()["deploymentId"]
    before = portal.wait(deployment_id)
    page, last = f"/deployments/{deployment_id}", before["lastEvent"]
    shown, told = show(portal, page), portal.events(deployment_id)[-1]
    assert before["logExpiredAt"] is None
    assert SENTENCES["en"] not in said(shown)

    delete_logs(any_database_url)

    after = portal.record(deployment_id)
    assert datetime.fromisoformat(after["logExpiredAt"]) > datetime.now(UTC)
    assert {**after, "logExpiredAt": None} == before
    # The page is the same, with a script and without one, but for the log.
    again = show(portal, page)
    assert (stations(again), head(again)) == (stations(shown), head(shown))
    assert [each["data-n"] for each in again.all("li") if "data-n" in each] == [str(last)]
    for path in (page, f"{page}/record"):
        assert SENTENCES.keys() == LANGUAGES.keys()
        for language, sentence in SENTENCES.items():
            assert sentence in said(show(portal, path, language))
    # A reader from the start is told that some is missing, and then how it ended.
    heartbeat, gap, end = read(portal, deployment_id)
    assert (heartbeat.event, gap.event, end.event, end.id) == ("heartbeat", "gap", "deployment_completed", str(last))
    assert json.loads(gap.data) == {"after": 0, "last": last - 1, "effects": RELOAD}
    assert json.loads(end.data) == told
    assert [each["type"] for each in portal.events(deployment_id)] == ["gap", "deployment_completed"]
    # One who has read all but the end misses nothing, and one who has read all is sent away.
    assert [each.event for each in read(portal, deployment_id, str(last - 1))] == ["heartbeat", "deployment_completed"]
    assert portal.events(deployment_id, after=last - 1) == [told]
    answer = portal.client.get(f"/api/deployments/{deployment_id}/events", params={"after": str(last)})
    assert answer.status_code == 204


def test_a_deployment_that_is_gone_is_not_found(start_portal: Callable[..., PortalServer], any_database_url: str):
    portal = start_portal(database_url=any_database_url)
    deployment_id = portal.deploy("ada")["deploymentId"]
    portal.wait(deployment_id)
    assert portal.client.delete("/api/stack/ada", headers=OPERATOR).status_code == 200

    async def sweep() -> None:
        database = Database(any_database_url)
        keep = Keep(deployments=timedelta(days=90))
        await Retention(database, keep, may_act=lambda: True).sweep(datetime.now(UTC) + AGE)
        await database.close()

    asyncio.run(sweep())

    for path in (f"/api/deployments/{deployment_id}", f"/api/deployments/{deployment_id}/events"):
        assert portal.client.get(path, headers=OPERATOR).status_code == 404
    assert portal.client.get("/api/overview", headers=OPERATOR).json()["latest"] == []
    assert portal.client.get("/stacks", headers={"accept": "text/html", **OPERATOR}).status_code == 200
    # The name is as free as before.
    portal.wait(portal.deploy("ada")["deploymentId"])


def test_files_that_were_kept_are_erased_without_the_secrets_of_their_stack(
    start_portal: Callable[..., PortalServer], any_database_url: str, emulator: Emulator
):
    """And while they are, nobody is shown a password."""
    portal = start_portal(database_url=any_database_url)
    portal.wait(portal.deploy("ada")["deploymentId"])
    kept = portal.client.delete("/api/stack/ada", params={"volume": "keep"}, headers=OPERATOR)
    assert kept.status_code == 200
    emulator.fault("hold", "dockerVolume.removeVolume")

    erasing = portal.client.delete(
        "/api/stack/ada", params={"volume": "erase"}, headers={**OPERATOR, "prefer": "respond-async, wait=0"}
    )
    assert erasing.status_code == 202, erasing.text
    stack = portal.client.get("/api/stack/ada", headers=OPERATOR)
    assert (stack.status_code, stack.json()["password"]) == (200, None)
    emulator.clear_faults()
    emulator.release(0)

    assert portal.wait(erasing.json()["deploymentId"])["conclusion"] == "succeeded"
    assert emulator.left() == {}
