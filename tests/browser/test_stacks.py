"""My stacks, one stack and the record of a deployment, as people use them: by mouse, by keyboard, and without a script."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import PHONE
from tests.browser.conftest import Visitors
from tests.browser.reading import deploy, deployment_id, expect_heading, focused, pasted, say, wait_for
from tests.servers import Emulator, PortalServer


def open_stack(page: Page, portal: PortalServer, name: str = "ada") -> str:
    """Deploy, and go to the stack's page by the board; tell its address."""
    deploy(page, portal, name)
    wait_for(page, ".sign")
    page.click(".nav a[href='/stacks']")
    page.click(f".board th a[href='/stacks/{name}']")
    wait_for(page, ".sign")
    return page.url


def dialog_of(page: Page) -> str:
    """The dialog that is open, or the empty text."""
    return str(page.evaluate("document.querySelector('dialog[open]')?.id ?? ''"))


@pytest.mark.parametrize(
    ("button", "dialog"),
    [
        ("redeploy-button", "redeploy-dialog"),
        ("password-button", "password-dialog"),
        ("delete-button", "delete-dialog"),
    ],
)
def test_a_dialog_by_keyboard(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, button: str, dialog: str
):
    portal = serve()
    page = visit()
    here = open_stack(page, portal)
    calls = emulator.state()["calls"]["application.deploy"]

    # Focus goes in, stays in, and comes back to the button, whichever way the dialog is left.
    for leave in ("Escape", "Enter"):
        page.focus(f"#{button}")
        page.keyboard.press("Enter")
        assert dialog_of(page) == dialog
        within = f"document.querySelector('#{dialog}').contains(document.activeElement)"
        assert page.evaluate(within)
        if leave == "Enter":
            page.locator(f"#{dialog} [form$=keep]").focus()
        page.keyboard.press(leave)
        assert (dialog_of(page), focused(page), page.url) == ("", button, here)

    # What the first key does may lose nothing: a second Enter by mistake, too.
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.url == here
    assert emulator.state()["calls"]["application.deploy"] == calls
    assert len(emulator.state()["applications"]) == 1


def test_a_dialog_says_what_it_is_about(visit: Visitors, gallery):
    page = visit(cookies=gallery["stack"].cookies)
    page.goto(gallery["stack"].url)

    page.click("#delete-button")
    dialog = page.get_by_role("dialog", name="Delete ada?")
    expect(dialog).to_have_accessible_description("This cannot be undone.")
    for lost in ("The running server and its password", "The address ada.ai.example.com", "portal-ai-workspace-ada"):
        expect(dialog).to_contain_text(lost)
    assert focused(page) == "delete-title"
    dialog.get_by_role("button", name="Keep ada").click()
    assert dialog_of(page) == ""

    page.click("#redeploy-button")
    expect(page.get_by_role("dialog", name="Deploy ada again?")).to_contain_text("Files, password and address stay.")


def test_deploying_again_by_mouse(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    page = visit()
    here = open_stack(page, portal)
    password = page.locator("#password").input_value()
    emulator.fault("stuck")

    page.click("#redeploy-button")
    page.get_by_role("dialog").get_by_role("button", name="Deploy again").dblclick()

    expect_heading(page, "Deploying ada again")
    again = deployment_id(page)
    other = page.context.new_page()
    other.goto(here)
    expect(other.locator(".state").first).to_have_text("Deploying")
    expect(other.get_by_role("link", name="Watch the deployment")).to_have_attribute("href", f"/deployments/{again}")
    expect(other.locator("#redeploy-button, #delete-button")).to_have_count(0)
    portal.wait_for(again, "progressed", what="container_running")
    emulator.release()

    wait_for(page, ".sign")
    expect_heading(page, "ada is ready")
    page.get_by_role("link", name="Manage ada").click()
    expect(page.locator(".hist li")).to_have_count(2)
    assert page.locator("#password").input_value() == password
    expect(page.get_by_role("img", name="Done. Station 6 of 6.")).to_be_visible()


def test_stopping_a_redeployment(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    page = visit()
    open_stack(page, portal)
    emulator.fault("stuck")
    page.click("#redeploy-button")
    page.get_by_role("dialog").get_by_role("button", name="Deploy again").click()

    page.click("#cancel button")
    expect(page.locator("#sure")).to_contain_text("Nothing is removed.")
    page.click("#sure .danger")
    portal.wait_for(deployment_id(page), "cancel_requested")
    emulator.release()

    expect_heading(page, "ada was not deployed again")
    expect(page.locator("main")).not_to_contain_text("removed again")
    assert len(emulator.left()["applications"]) == 1


def test_deleting_by_the_dialog(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    page = visit()
    open_stack(page, portal)

    page.click("#delete-button")
    page.get_by_label("Keep the files").check()
    page.get_by_role("dialog").get_by_role("button", name="Delete ada").dblclick()

    wait_for(page, "#removed")
    expect_heading(page, "ada is removed")
    assert [volume["name"] for volume in emulator.left()["volumes"]] == ["portal-ai-workspace-ada"]
    page.click(".nav a[href='/stacks']")
    expect(page.locator("main")).to_contain_text("No stacks now")
    expect(page.locator(".hist li b")).to_have_text(["ada"])


@pytest.mark.parametrize("lang", ["en", "ar"])
def test_without_javascript(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, lang: str):
    portal = serve()
    page = visit(lang=lang, java_script_enabled=False, viewport=PHONE)
    page.goto(portal.url)
    page.fill("#name", "ada")
    page.click("#deploy")
    portal.wait(deployment_id(page))
    page.click(".nav a[href='/stacks']")
    page.click(".board th a")
    expect(page.locator("noscript code")).to_be_visible()
    assert page.locator("dialog:visible").count() == 0

    page.click("#redeploy-button")
    expect_heading(page, say(lang, "Deploy %(name)s again?", name="ada"))
    page.click("main form [type=submit]")
    portal.wait(deployment_id(page))
    page.reload()
    expect_heading(page, say(lang, "{name} is ready", name="ada"))

    page.click("main a[href='/stacks/ada']")
    page.click("#delete-button")
    expect_heading(page, say(lang, "Delete %(name)s?", name="ada"))
    page.click("main form [type=submit]")
    portal.wait(deployment_id(page))
    page.reload()
    expect_heading(page, say(lang, "{name} is removed", name="ada"))
    assert emulator.left() == {}


@pytest.mark.parametrize(("lang", "start"), [("en", "left"), ("ar", "right")])
def test_a_board_is_a_table_also_as_cards(visit: Visitors, gallery, lang: str, start: str):
    view = gallery["stacks"]
    page = visit(cookies=view.cookies, lang=lang, viewport=PHONE)
    page.goto(view.url)

    table = page.get_by_role("table", name=say(lang, "My stacks"))
    expect(table.get_by_role("columnheader")).to_have_count(4)
    rows = table.get_by_role("row")
    expect(table.get_by_role("rowheader")).to_have_count(rows.count() - 1)
    expect(rows.last.get_by_role("cell")).to_have_count(3)
    # A small line runs from where a sentence starts.
    line = rows.last.locator(".mini")
    assert line.evaluate(f"each => getComputedStyle(each, '::after').{start}") == "0px"


def test_the_record_is_copied_and_kept(visit: Visitors, gallery):
    view = gallery["record"]
    page = visit(cookies=view.cookies)
    page.goto(view.url)
    deployment = view.path.split("/")[2]

    page.click("[data-copy-fetched]")
    expect(page.locator(".said")).to_have_text("The record is copied.")
    copied = json.loads(pasted(page))
    assert (copied["id"], copied["stack"], copied["declared"]["name"]) == (deployment, "ada", "ada")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download as JSON").click()
    assert download.value.suggested_filename == f"ada-{deployment}.json"
    assert json.loads(download.value.path().read_text()) == copied

    page.route("**/api/deployments/*", lambda route: route.abort())
    visit.expect_complaint("Failed to load resource")
    page.click("[data-copy-fetched]")
    expect(page.locator(".said")).to_have_text("It could not be copied.")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_code_is_dark_on_white_in_both_themes(visit: Visitors, gallery, theme: str):
    view = gallery["stack"]
    page = visit(cookies=view.cookies, theme=theme)
    page.goto(view.url)

    code = page.get_by_role("img", name="QR code of the address http://ada.ai.example.com")
    expect(code).to_be_visible()
    fills = code.evaluate("each => [...each.children].map(part => getComputedStyle(part).fill)")
    assert fills == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    # Beside the address where there is room, below it where there is none.
    link, box = page.locator(".sign > a").bounding_box(), code.bounding_box()
    assert link is not None
    assert box is not None
    assert box["x"] > link["x"] + link["width"]
    page.set_viewport_size(PHONE)
    link, box = page.locator(".sign .row").bounding_box(), code.bounding_box()
    assert link is not None
    assert box is not None
    assert box["y"] >= link["y"] + link["height"]
