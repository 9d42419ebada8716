"""The whole way, from a name to an address that answers, as people of three languages go it."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import ViewportSize, expect

from tests.browser.chromium import DESKTOP, PHONE
from tests.browser.conftest import Visitors
from tests.browser.reading import (
    ALL_DONE,
    assert_nothing_lost_or_doubled,
    deployment_id,
    expect_heading,
    focused,
    icon,
    pasted,
    rows,
    say,
    states,
    station,
    type_name,
    wait_for,
)
from tests.integration.holding import wait_for_held
from tests.servers import Emulator, PortalServer

UNDERSCORE = {"en": "underscore", "nl": "onderstrepingsteken", "ar": "شرطة سفلية"}


@pytest.mark.parametrize(
    ("lang", "size", "theme"),
    [
        # Every two of a language, a size and a theme meet at least once.
        pytest.param("en", PHONE, "light", id="en phone light"),
        pytest.param("en", DESKTOP, "dark", id="en desktop dark"),
        pytest.param("nl", PHONE, "dark", id="nl phone dark"),
        pytest.param("nl", DESKTOP, "light", id="nl desktop light"),
        pytest.param("ar", PHONE, "light", id="ar phone light"),
        pytest.param("ar", DESKTOP, "dark", id="ar desktop dark"),
    ],
)
def test_from_a_name_to_an_address_that_answers(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, lang: str, size: ViewportSize, theme: str
):
    portal = serve()
    page = visit(lang=lang, theme=theme, viewport=size)

    page.goto(portal.url)
    expect(page.locator("html")).to_have_attribute("lang", lang)
    expect(page.locator("html")).to_have_attribute("dir", "rtl" if lang == "ar" else "ltr")
    expect_heading(page, say(lang, "Name your stack"))
    assert icon(page) == ""
    type_name(page, "Ada")
    expect(page.locator("#say")).to_have_text(say(lang, "%(address)s is free.", address="ada.localhost"))
    assert states(page) == ["ready", *["wait"] * 6]

    emulator.fault("stuck")
    page.click("#deploy")
    expect_heading(page, say(lang, "Deploying {name}", name="ada"))
    wait_for(page, '.stop[data-station="deploy"][data-s="now"]')
    assert page.title().startswith("5/7 · ")
    assert states(page) == [*["done"] * 5, "now", "wait"]
    assert icon(page) == "running"

    emulator.release()
    wait_for(page, ".sign")
    expect_heading(page, say(lang, "{name} is ready", name="ada"))
    expect(page).to_have_title(say(lang, "{name} is ready", name="ada") + " · AI Stack Deployer")
    assert (states(page), icon(page), focused(page)) == (ALL_DONE, "done", "h1")
    assert_nothing_lost_or_doubled(page, portal)

    # The address, with its port, in every place where it stands.
    url = portal.record(deployment_id(page))["url"]
    assert url == emulator.url.replace("127.0.0.1", "ada.localhost")
    expect(page.locator(".sign > a")).to_have_text(url)
    page.click("[data-copy]")
    expect(page.locator(".sign .said")).to_have_text(say(lang, "The address is copied."))
    assert pasted(page) == url

    # The password is hidden until it is asked for.
    field = page.locator("#password")
    expect(field).to_have_attribute("type", "password")
    page.click("[data-reveal]")
    expect(field).to_have_attribute("type", "text")
    page.click("[data-copy-from]")
    expect(page.locator(".secrets .said")).to_have_text(say(lang, "The password is copied."))
    password = pasted(page)
    assert password == field.input_value()
    assert len(password) >= 16

    # Strangers are turned away, and the password lets in.
    with page.context.expect_page() as opened, page.context.expect_event("response") as answered:
        page.get_by_role("link", name=say(lang, "Open")).click()
    assert (answered.value.url, answered.value.status) == (f"{url}/", 401)
    opened.value.close()
    known = visit(http_credentials={"username": "opencode", "password": password})
    known.goto(url)
    expect(known.locator("h1")).to_have_text("Hello from ada")


@pytest.mark.parametrize("lang", UNDERSCORE)
def test_without_javascript(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, lang: str):
    portal = serve()
    page = visit(lang=lang, java_script_enabled=False, viewport=PHONE)

    page.goto(portal.url)
    page.fill("#name", "a_b")
    page.click("#deploy")
    visit.expect_complaint("status of 422")
    expect(page.locator("#name")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#say")).to_contain_text(UNDERSCORE[lang])

    emulator.fault("stuck")
    page.fill("#name", "ada")
    page.click("#deploy")
    expect_heading(page, say(lang, "Deploying {name}", name="ada"))
    expect(page.locator("#sentence")).not_to_be_empty()
    portal.wait_for(deployment_id(page), "progressed", what="container_running")
    emulator.release()
    # The page reloads itself every three seconds.
    wait_for(page, ".sign")
    expect_heading(page, say(lang, "{name} is ready", name="ada"))
    expect(page.locator(".secret")).to_be_hidden()
    password = page.locator("noscript code").inner_text()
    known = visit(http_credentials={"username": "opencode", "password": password})
    known.goto(page.locator(".sign > a").get_attribute("href") or "")
    expect(known.locator("h1")).to_have_text("Hello from ada")

    page.click(".loss")
    expect_heading(page, say(lang, "Delete %(name)s?", name="ada"))
    page.click("main form [type=submit]")
    portal.wait(deployment_id(page))
    page.reload()
    expect_heading(page, say(lang, "{name} is removed", name="ada"))
    assert emulator.left() == {}


def test_cancelling_without_javascript(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")
    page = visit(java_script_enabled=False)
    page.goto(portal.url)
    page.fill("#name", "ada")
    page.click("#deploy")
    wait_for_held(emulator, "application.deploy")

    page.click("#cancel button")

    portal.wait_for(deployment_id(page), "cancel_requested")
    emulator.release()
    expect_heading(page, "ada was not deployed")
    expect(page.locator(".lead")).to_contain_text("stopped on request")
    assert emulator.left() == {}


def test_the_log_is_the_same_live_and_loaded(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")  # so that Dokploy's own log is read
    page = visit(lang="ar")
    page.goto(portal.url)
    type_name(page, "ada")
    page.click("#deploy")
    wait_for(page, "#log li:has([lang=en]) + li")
    live, seen = rows(page), states(page)

    other = visit(lang="ar")
    other.goto(page.url)
    assert rows(other)[: len(live)] == live
    page.reload()

    assert rows(page)[: len(live)] == live
    assert states(page) == seen
    # The time at the running station runs on.
    note = station(page, "deploy").locator("[data-note]")
    expect(note).to_have_text(re.compile(r"^\d[\d.]*\s"))
    expect(note).not_to_have_text(note.inner_text())
    expect(page.locator("#log span[lang=en]").last).to_have_css("direction", "ltr")
    expect(page.locator("#log span:not([lang])").first).to_have_css("direction", "rtl")
    emulator.release()
    wait_for(page, "#password")
    assert_nothing_lost_or_doubled(page, portal)
