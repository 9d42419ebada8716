"""The form: what it says of a name while it is typed, and that it is sent once."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitors
from tests.browser.reading import deploy, expect_heading, focused, states, switch_language, type_name, wait_for
from tests.ports import reserve_port
from tests.servers import Emulator, PortalServer
from tests.waiting import wait_until


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ad", "at least 3 characters; this one has 2"),
        ("a" * 31, "at most 30"),
        ("ada_b", "for example ada-b"),
        ("آدا", "letters a to z"),
        ("-ada", "cannot begin with a hyphen"),
        ("admin", "kept for this server itself"),
        ("../../etc", "only the letters a to z"),
    ],
)
def test_a_name_is_refused_with_its_reason(visit: Visitors, gallery, name: str, reason: str):
    page = visit()
    page.goto(gallery["form"].url)

    type_name(page, name, "off")

    expect(page.locator("#say")).to_contain_text(reason)
    expect(page.locator("#name")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#deploy")).to_have_attribute("aria-disabled", "true")
    assert states(page)[0] == "off"
    # Sent all the same, it stays here and says so again.
    page.press("#name", "Enter")
    wait_for(page, '#answer[data-s="off"]')
    assert (page.url, focused(page)) == (gallery["form"].url, "name")


def test_suggestions_fill_the_field(visit: Visitors, serve: Callable[..., PortalServer]):
    portal = serve()
    portal.deploy("ada")
    page = visit()
    page.goto(portal.url)
    type_name(page, "ada", "off")
    expect(page.locator("#fork button")).to_have_count(3)
    chosen = page.locator("#fork button").first.get_attribute("value")

    page.locator("#fork button").first.click()

    expect(page.locator("#name")).to_have_value(chosen or "")
    assert focused(page) == "name"
    wait_for(page, '#answer[data-s="ready"]')
    expect(page.locator("#fork button")).to_have_count(0)
    page.press("#name", "Enter")
    wait_for(page, ".sign")
    expect_heading(page, f"{chosen} is ready")


def test_a_name_that_is_taken_between_check_and_post(visit: Visitors, serve: Callable[..., PortalServer]):
    portal = serve()
    page = visit()
    page.goto(portal.url)
    type_name(page, "ada")
    portal.deploy("ada")
    visit.expect_complaint("status of 409")

    page.click("#deploy")

    wait_for(page, "#fork button")
    expect(page.locator("#say")).to_contain_text("ada already belongs to a stack")
    expect(page.locator("#name")).to_have_value("ada")
    assert focused(page) == "name"
    page.locator("#fork button").first.click()
    wait_for(page, '#answer[data-s="ready"]')
    page.click("#deploy")
    wait_for(page, ".sign")


def test_a_double_click_makes_one_deployment(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    page = visit()
    posts = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    page.goto(portal.url)
    type_name(page, "ada")

    page.dblclick("#deploy")

    wait_for(page, ".sign")
    assert posts == [f"{portal.url}/deploy"]
    assert emulator.state()["calls"]["project.create"] == 1


def test_a_check_that_fails_keeps_nobody_from_deploying(visit: Visitors, serve: Callable[..., PortalServer]):
    portal = serve()
    visit.expect_complaint("status of 502")
    page = visit()
    page.route("**/api/check/**", lambda route: route.fulfill(status=502, body="Bad Gateway"))
    page.goto(portal.url)
    page.fill("#name", "ada")
    expect(page.locator("#say")).to_contain_text("cannot be checked right now")

    page.click("#deploy")

    wait_for(page, ".sign")


def test_back_to_the_form_and_forward_again(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)

    page.go_back()
    expect_heading(page, "Name your stack")
    type_name(page, "ada", "off")
    type_name(page, "grace")
    page.go_forward()
    wait_for(page, ".run")
    emulator.release()

    wait_for(page, ".sign")
    expect_heading(page, "ada is ready")
    page.go_back()
    type_name(page, "grace")
    page.click("#deploy")
    wait_for(page, ".sign")
    expect_heading(page, "grace is ready")


def test_a_theme_and_a_language_are_kept(visit: Visitors, gallery):
    view = gallery["ready"]
    page = visit(cookies=view.cookies)
    page.goto(view.url)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.click(".to-dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    switch_language(page, "ar")

    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != paper
    page.click("header .mark")
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    page.click(".to-light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page).to_have_url(re.compile("/$"))


def test_a_portal_that_waits_for_dokploy_says_so_and_can_be_asked_again(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    port = reserve_port()
    portal = serve(listen_on=port, dokploy_circuit_seconds=300)
    visit.expect_complaint("status of 503")
    page = visit()
    page.goto(portal.url)
    emulator.fault("database_down")

    def is_open() -> bool:
        portal.client.post("/api/deploy", json={"name": "bob"})
        return bool(portal.client.get("/health").json()["dokploy"]["circuit"] == "open")

    wait_until(is_open, pause=0.05)
    type_name(page, "ada")

    page.click("#deploy")

    expect(page.locator("#say")).to_contain_text("nothing new is begun")
    expect(page.locator("#deploy")).not_to_have_attribute("aria-disabled", "true")
    page.goto(portal.url)
    expect(page.locator("#say")).to_contain_text("nothing new is begun")
    with page.expect_response("**/api/check/ada*"):
        page.fill("#name", "ada")
    emulator.clear_faults()
    # A new one asks at once, which the first would do after five minutes.
    portal.stop()
    serve(listen_on=port)
    page.click("#deploy")
    page.wait_for_url("**/deployments/*")


def test_the_plan_is_shown_before_anything_is_made(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    page = visit(lang="nl")
    page.goto(portal.url)
    type_name(page, "ada")
    page.evaluate("window.stillTheSamePage = true")

    page.click("#preview")

    wait_for(page, "#plan .facts")
    expect(page.locator("#plan .facts")).to_contain_text("portal-ai-workspace-ada:/workspace")
    expect(page.locator("#plan .steps li")).to_have_count(4)
    assert (focused(page), page.evaluate("window.stillTheSamePage")) == ("plan", True)
    # It was the plan of that name alone.
    page.fill("#name", "ada_b")
    expect(page.locator("#plan")).to_be_hidden()
    page.click("#preview")
    wait_for(page, "#plan .why")
    expect(page.locator("#plan .facts dd")).to_have_count(0)
    page.goto(f"{portal.url}/?name=grace&plan=1")
    expect(page.locator("#plan .facts")).to_contain_text("portal-ai-workspace-grace:/workspace")
    assert emulator.left() == {}


def test_the_plan_without_javascript(visit: Visitors, gallery):
    page = visit(java_script_enabled=False)
    page.goto(gallery["form"].url)
    expect(page.locator("#plan")).to_be_hidden()
    page.fill("#name", "grace-hopper")

    page.click("#preview")

    expect(page.locator("#plan .facts")).to_contain_text("grace-hopper.ai.example.com")
    expect(page.locator("#name")).to_have_value("grace-hopper")


def test_a_book_in_the_field(visit: Visitors, gallery):
    page = visit()
    page.goto(gallery["form"].url)

    type_name(page, "ada " * 1_250, "off")

    expect(page.locator("#say")).to_contain_text("at most 30")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.press("#name", "Enter")
    expect(page.locator("#deploy")).to_have_attribute("aria-disabled", "true")


def test_the_menu_of_languages_by_keyboard(visit: Visitors, gallery):
    page = visit()
    page.goto(gallery["form"].url)
    summary = page.locator(".menu summary")
    summary.focus()

    page.keyboard.press("Enter")
    expect(page.locator(".menu [hreflang=nl]")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator(".menu [hreflang=nl]")).to_be_hidden()
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.click("h1")
    expect(page.locator(".menu [hreflang=nl]")).to_be_hidden()
    summary.focus()
    page.keyboard.press("Enter")
    page.locator(".menu [hreflang=nl]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "nl")
