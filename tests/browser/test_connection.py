"""The page of a deployment over whatever connection: cut, held back, asleep or refused, nothing is lost or doubled."""

from collections.abc import Callable
from urllib.parse import urlsplit

from playwright.sync_api import Route, expect

from tests.browser.conftest import Visitors
from tests.browser.reading import AT_WORK, assert_nothing_lost_or_doubled, deploy, rows, wait_for
from tests.ports import reserve_port
from tests.servers import Emulator, PortalServer


def test_events_missed_while_offline_are_shown_afterwards(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    emulator.fault("stuck")
    visit.expect_complaint("ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)
    page.evaluate("window.stillTheSamePage = true")

    page.context.set_offline(True)
    # What happens meanwhile is there afterwards.
    portal.wait_for(page.url.rpartition("/")[2], "log_line")
    page.context.set_offline(False)

    wait_for(page, "#log li:has([lang=en])")
    emulator.release()
    wait_for(page, ".sign")
    expect(page.locator("#link")).to_be_hidden()
    assert page.evaluate("window.stillTheSamePage")
    assert_nothing_lost_or_doubled(page, portal)


def test_a_page_that_was_offline_until_the_end_shows_the_result(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    emulator.fault("stuck")
    visit.expect_complaint("ERR_INTERNET_DISCONNECTED|ERR_NETWORK_CHANGED")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)

    page.context.set_offline(True)
    emulator.release()
    portal.wait(page.url.rpartition("/")[2])
    page.context.set_offline(False)

    wait_for(page, ".sign")
    assert_nothing_lost_or_doubled(page, portal)


def test_the_page_goes_on_after_a_restart_of_the_portal(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve(listen_on=reserve_port())
    emulator.fault("stuck")
    visit.expect_complaint("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE")
    page = visit()
    deploy(page, portal)
    wait_for(page, AT_WORK)
    page.evaluate("window.stillTheSamePage = true")
    before = rows(page)

    portal.stop()
    wait_for(page, "#link")
    expect(page.locator("#link")).to_contain_text("The work goes on at the server")
    again = serve(listen_on=urlsplit(portal.url).port)

    expect(page.locator("#link")).to_be_hidden()
    assert rows(page)[: len(before)] == before
    emulator.release()
    wait_for(page, ".sign")
    assert page.evaluate("window.stillTheSamePage")
    assert_nothing_lost_or_doubled(page, again)
    expect(page.locator("#log")).to_contain_text("The portal restarted and goes on where it was.")


def test_a_connection_that_is_cut_again_and_again_loses_no_event(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve(sse_timeout_seconds=0.3, sse_heartbeat_seconds=0.1)
    emulator.fault("stuck")
    page = visit(lang="ar")
    deploy(page, portal)
    wait_for(page, AT_WORK)
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)

    wait_for(page, "#log li:has([lang=en])")
    live = rows(page)

    assert len(streams) >= 1
    assert [row[0] for row in live] == [str(n) for n in range(1, len(live) + 1)]
    emulator.release()
    wait_for(page, ".sign")
    assert_nothing_lost_or_doubled(page, portal)


def test_without_a_stream_the_page_polls_to_the_result(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    def refuse(route: Route) -> None:
        if "text/event-stream" in route.request.headers.get("accept", ""):
            route.fulfill(status=502, body="Bad Gateway")
        else:
            route.continue_()

    portal = serve()
    emulator.fault("stuck", seconds=0.5)
    visit.expect_complaint("status of 502")
    page = visit()
    page.route("**/events*", refuse)
    deploy(page, portal)

    wait_for(page, ".sign")

    assert_nothing_lost_or_doubled(page, portal)


def test_a_proxy_that_holds_the_stream_back_is_noticed_while_it_does(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    asked: list[str] = []

    def hold(route: Route) -> None:
        if "text/event-stream" not in route.request.headers.get("accept", ""):
            asked.append(route.request.url)
            route.continue_()
        # The stream is never answered, as by a proxy that waits for its end.

    portal = serve()
    emulator.fault("stuck")
    page = visit()
    page.route("**/events*", hold)
    deploy(page, portal)
    wait_for(page, AT_WORK)

    wait_for(page, "#log li:has([lang=en])")  # comes while the stream is still held

    assert asked
    expect(page.locator("#link")).to_be_hidden()
    emulator.release()
    wait_for(page, ".sign")
    assert_nothing_lost_or_doubled(page, portal)
