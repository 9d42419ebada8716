"""The page of a deployment while it runs: whoever looks, whenever, over whatever connection, sees the same."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from app.i18n import LANGUAGES
from app.sandbox import SandboxSettings
from tests.browser.conftest import Visitors
from tests.browser.reading import (
    ALL_DONE,
    AT_WORK,
    assert_nothing_lost_or_doubled,
    deploy,
    deployment_id,
    expect_heading,
    focused,
    say,
    states,
    station,
    switch_language,
    wait_for,
)
from tests.servers import Emulator, PortalServer
from tests.waiting import wait_until

DUTCH = LANGUAGES["nl"]


def test_a_second_viewer_sees_the_same_in_his_language_and_no_secret(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)

    other = visit(lang="nl")
    other.goto(page.url)

    expect_heading(other, say("nl", "Deploying {name}", name="ada"))
    assert states(other) == states(page)
    expect(page.locator("#cancel")).to_be_visible()
    expect(other.locator("#cancel, #sure")).to_have_count(0)
    emulator.release()
    for viewer in (page, other):
        wait_for(viewer, ".sign")
        assert_nothing_lost_or_doubled(viewer, portal)
        assert states(viewer) == ALL_DONE
    expect_heading(other, say("nl", "{name} is ready", name="ada"))
    expect(page.locator("#password")).to_be_visible()
    expect(other.locator("#password, .loss")).to_have_count(0)
    assert page.input_value("#password") not in other.content()
    visit.expect_complaint("status of 404")
    other.goto(f"{portal.url}/stacks/ada/delete")
    expect_heading(other, DUTCH.text("No such stack"))


def test_another_language_in_the_middle(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)

    switch_language(page, "nl")

    page.wait_for_url("**/deployments/*")
    assert "lang" not in page.url, "a friend who is sent this address reads his own language"
    expect_heading(page, say("nl", "Deploying {name}", name="ada"))
    expect(page.locator("#sentence")).to_have_text(DUTCH.text("Dokploy is starting the container."))
    emulator.release()
    wait_for(page, ".sign")
    expect_heading(page, say("nl", "{name} is ready", name="ada"))
    expect(page.locator("#log li span").first).to_have_text(DUTCH.text("{name} is in line.", {"name": "ada"}))
    assert_nothing_lost_or_doubled(page, portal)


def test_the_end_takes_the_page_s_place_once(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.evaluate("window.stillTheSamePage = true")
    emulator.release()

    wait_for(page, ".sign")
    page.wait_for_timeout(1_200)  # longer than anything on the page waits before it would ask once more

    assert page.evaluate("window.stillTheSamePage")
    assert [path for path in asked if "/static/" not in path] == [urlsplit(page.url).path]
    assert focused(page) == "h1"
    page.click("[data-reveal]")  # the shared script reaches what came in place
    expect(page.locator("#password")).to_have_attribute("type", "text")


def test_cancelling_asks_first(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)
    dialog = page.locator("#sure")

    page.click("#cancel button")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.activeElement.textContent") == "Keep going"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.click("#cancel button")
    page.get_by_role("button", name="Keep going").click()
    expect(dialog).to_be_hidden()
    assert portal.client.get(f"/api/deployments/{page.url.rpartition('/')[2]}").json()["cancelRequested"] is False

    page.click("#cancel button")
    page.click("#sure .danger")

    wait_for(page, "#stops[data-undoing]")
    expect_heading(page, "Undoing ada")
    expect(page.locator("#cancel")).to_have_count(0)
    emulator.release()
    wait_for(page, "#left")
    expect_heading(page, "ada was not deployed")
    expect(page.locator(".lead")).to_have_text("It was stopped on request, and what had been made is removed again.")
    assert states(page) == ["done", *["undone"] * 5, "off"]
    assert emulator.left() == {}


class TestInLine:
    @pytest.fixture
    def sandbox_settings(self) -> SandboxSettings:
        return SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, VOLUME_RELEASE_SECONDS=0.1, CONCURRENCY=1)

    def test_the_place_in_line_is_shown_while_it_waits(
        self, visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
    ):
        portal = serve()
        emulator.fault("stuck")
        first = portal.deploy("first")["deploymentId"]
        portal.wait_for(first, "progressed")
        second = portal.deploy("second")["deploymentId"]
        portal.wait_for(second, "queue_position")
        page = visit(lang="nl")

        deploy(page, portal)

        sentence = DUTCH.text("In Dokploy's line at place {position} of {total}.", {"position": 2, "total": 2})
        wait_for(page, ".yard .you")
        expect(page.locator("#sentence")).to_have_text(sentence)
        assert trains(page) == [DUTCH.text("You"), "1"]
        expect(page.locator('.stop[data-station="domain"] + .yard + .stop[data-station="deploy"]')).to_have_count(1)
        expect(station(page, "deploy").locator(".train")).to_be_hidden()
        page.reload()
        assert trains(page) == [DUTCH.text("You"), "1"]
        emulator.release()
        wait_for(page, ".sign")
        assert_nothing_lost_or_doubled(page, portal)
        expect(page.locator("#log")).to_contain_text(sentence)
        expect(page.locator(".yard")).to_have_count(0)


@pytest.mark.parametrize("lang", ["en", "ar"])
def test_the_yard_is_before_the_first_station_while_the_portal_is_busy(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, lang: str
):
    portal = serve(runner_concurrency=1)
    emulator.fault("stuck", times=2)
    portal.wait_for(portal.deploy("first")["deploymentId"], "progressed")
    second, *_ = [portal.deploy(name)["deploymentId"] for name in ("second", "third", "fourth", "fifth")]
    page, plain = visit(lang=lang), visit(lang=lang, java_script_enabled=False)

    deploy(page, portal)

    you = LANGUAGES[lang].text("You")
    wait_for(page, ".yard .you")
    assert trains(page) == [you, "+3", "1"]
    expect(page.locator('.yard + .stop[data-station="validate"]')).to_have_count(1)
    assert states(page) == ["wait"] * 7
    ahead = LANGUAGES[lang].plural(
        "The portal is busy. {count} deployment goes first.", "The portal is busy. {count} deployments go first.", 4
    )
    expect(page.locator("#sentence")).to_have_text(ahead)
    plain.goto(page.url)
    assert trains(plain) == [you, "+3", "1"]
    expect(plain.locator("#sentence")).to_have_text(ahead)

    # As the others leave it moves up, and then it goes.
    emulator.release()
    expect(page.locator(".yard")).to_have_attribute("data-position", "4")
    portal.wait_for(second, "progressed")
    emulator.release()
    wait_for(page, ".sign")
    assert states(page) == ALL_DONE
    assert_nothing_lost_or_doubled(page, portal)


def trains(page: Page) -> list[str]:
    """Who stands in the yard, from the back to whoever is next."""
    return [text.strip() for text in page.locator(".yard > span").all_inner_texts()]


def test_another_theme_in_the_middle_keeps_page_and_stream(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)
    page.evaluate("window.stillTheSamePage = true")

    page.click(".to-dark")

    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator(".to-light")).to_be_focused()
    emulator.release()
    wait_for(page, ".sign")
    assert page.evaluate("window.stillTheSamePage")
    assert_nothing_lost_or_doubled(page, portal)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


TELLS = """
window.told = null;
const prototype = window.ServiceWorkerRegistration?.prototype;
if (prototype) {
  const show = prototype.showNotification;
  prototype.showNotification = function (title, options) {
    window.told = [title, options.body, options.lang, options.data];
    return show.call(this, title, options);
  };
}
"""


def test_whoever_wants_is_told_of_the_end(
    browser_with_notifications: Browser, visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    emulator.fault("stuck")
    page = visit(browser=browser_with_notifications, lang="nl", permissions=["notifications"])
    # What the browser is given to show: what it has shown it forgets at once where no desktop takes it.
    page.add_init_script(TELLS)
    deploy(page, portal)
    wait_for(page, AT_WORK)
    expect(page.locator("#notify")).to_have_attribute("aria-pressed", "false")

    page.click("#notify")

    expect(page.locator("#notify-said")).to_have_text(DUTCH.text("This browser will tell you."))
    page.reload()
    expect(page.locator("#notify")).to_have_attribute("aria-pressed", "true")
    # Through the worker, once it is there; until then the page itself would tell, which nobody can look up.
    is_active = """async () => Boolean((await navigator.serviceWorker.getRegistration("/static/"))?.active)"""
    wait_until(lambda: page.evaluate(is_active), pause=0.05)
    emulator.release()
    wait_for(page, ".sign")
    told = wait_until(lambda: page.evaluate("window.told"), pause=0.05)
    assert told == [
        say("nl", "{name} is ready", name="ada"),
        say("nl", "Your server answers at its own address."),
        "nl",
        page.url,
    ]


def test_whoever_may_not_be_told_hears_why(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    page.context.clear_permissions()
    deploy(page, portal)

    page.click("#notify")

    expect(page.locator("#notify-said")).to_have_text("This browser does not allow notifications.")
    expect(page.locator("#notify")).to_have_attribute("aria-pressed", "false")
    portal.wait_for(deployment_id(page), "progressed", what="container_running")
    emulator.release()
    wait_for(page, ".sign")


def test_the_title_counts_and_the_icon_tells(visit: Visitors, gallery):
    page = visit()
    for name, title, icon in (
        ("form", r"Name your stack", "favicon"),
        ("running", r"5/7 · Deploying ada", "favicon-running"),
        ("undoing", r"2/7 · Undoing edith|3/7 · Undoing edith", "favicon-undoing"),
        ("removing", r"0/5 · Removing margaret", "favicon-running"),
        ("ready-stranger", r"ada is ready", "favicon-done"),
        ("failed", r"alan was not deployed", "favicon-failed"),
        ("leftovers", r"linus was not deployed", "favicon-failed"),
        ("removed", r"grace is removed", "favicon-done"),
        ("ready-gone", r"grace is removed", "favicon-done"),
        ("remove-failed", r"barbara was not removed completely", "favicon-failed"),
    ):
        page.goto(gallery[name].url)
        expect(page).to_have_title(re.compile(rf"^({title}) · AI Stack Deployer$"))
        address = page.get_attribute('link[rel="icon"]', "href") or ""
        assert address.startswith(f"/static/{icon}.svg?"), name
        assert page.request.get(urlsplit(page.url)._replace(path=address.partition("?")[0]).geturl()).ok


class TestALogThatGrows:
    @pytest.fixture
    def sandbox_settings(self) -> SandboxSettings:
        return SandboxSettings(DEPLOY_SECONDS=0.05, START_SECONDS=0.02, CONCURRENCY=1)

    def test_it_follows_until_the_reader_scrolls(
        self, visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
    ):
        # It stops growing at three places: in Dokploy's queue, in Dokploy's hands, and before its container is ready.
        portal = serve()
        emulator.fault("stuck", times=2)
        portal.wait_for(portal.deploy("first")["deploymentId"], "progressed")
        emulator.fault("never_ready")
        page = visit(viewport={"width": 390, "height": 400})
        deploy(page, portal)
        log = page.locator("#log")
        below = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
        self.wait_until_it_shows(page, portal, "queue_position")
        assert log.evaluate("log => log.scrollHeight > log.clientHeight")
        assert log.evaluate(below) < 2

        log.evaluate("log => log.scrollTo(0, 0)")
        emulator.release()
        self.wait_until_it_shows(page, portal, "log_line")
        assert log.evaluate("log => log.scrollTop") == 0, "whoever reads is left in peace"

        log.evaluate("log => log.scrollTo(0, log.scrollHeight)")
        emulator.release()
        self.wait_until_it_shows(page, portal, "progressed", what="container_starting")
        assert log.evaluate(below) < 2

    @staticmethod
    def wait_until_it_shows(page: Page, portal: PortalServer, event_type: str, **params: str) -> None:
        event = portal.wait_for(deployment_id(page), event_type, **params)
        wait_for(page, f'#log li[data-n="{event["n"]}"]')
