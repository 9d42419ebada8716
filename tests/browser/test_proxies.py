"""The page of a deployment behind nginx: as it is by default, and as one that holds the stream back."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from tests.acceptance.proxies import serve_proxy
from tests.browser.conftest import Visitors
from tests.browser.reading import ALL_DONE, assert_nothing_lost_or_doubled, states, type_name, wait_for
from tests.servers import Emulator, PortalServer


def deploy_at(page: Page, url: str) -> list[str]:
    """Fill in the form there and send it; tell the requests for events, as they come to be made."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/events" in request.url else None)
    page.goto(url)
    type_name(page, "ada")
    page.click("#deploy")
    wait_for(page, ".run")
    return asked


def test_behind_nginx_the_page_follows_the_stream(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, tmp_path: Path
):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    with serve_proxy("nginx", tmp_path, portal.url) as url:
        asked = deploy_at(page, url)
        wait_for(page, '.stop[data-station="deploy"][data-s="now"]')
        emulator.release()

        wait_for(page, ".sign")

        assert states(page) == ALL_DONE
        assert_nothing_lost_or_doubled(page, portal)
        assert len(asked) == 1, "one stream, and nothing was asked besides"


def test_behind_a_proxy_that_holds_the_stream_back_the_page_reaches_its_result(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, tmp_path: Path
):
    portal = serve()
    emulator.fault("stuck")
    page = visit()
    # Pieces of an answer without a length nginx hands on all the same, unless it compresses them.
    holding = ("proxy_ignore_headers X-Accel-Buffering;", "proxy_buffering on;", "gzip_types text/event-stream;")
    with serve_proxy("nginx", tmp_path, portal.url, *holding) as url:
        asked = deploy_at(page, url)
        # After a while without a sign of life it asks by itself.
        wait_for(page, '.stop[data-station="deploy"][data-s="now"]')
        emulator.release()

        wait_for(page, ".sign")

        assert states(page) == ALL_DONE
        assert_nothing_lost_or_doubled(page, portal)
        assert [each for each in asked if "follow=false" in each], "it asked by itself"
