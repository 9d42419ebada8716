"""A real Chromium for the tests of this folder, and visitors whose console must stay silent."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, WebError

from tests.browser.chromium import launch, new_visitor, start_chromium
from tests.browser.gallery import PATIENT, View, open_gallery
from tests.programs import find_program, need_program
from tests.servers import Emulator, PortalServer


# Not for the session: playwright keeps an event loop in this thread, beside which no other test could run its own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with start_chromium(find_program("chromium-headless-shell") or need_program("chromium")) as started:
        yield started


@pytest.fixture
def browser_with_notifications(browser: Browser) -> Iterator[Browser]:
    with launch(browser.browser_type, need_program("chromium")) as started:
        yield started


@pytest.fixture(scope="package")
def gallery(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, View]]:
    with open_gallery(tmp_path_factory.mktemp("gallery")) as views:
        yield views


class Visitors:
    """Opens a browser of its own for each visitor, and keeps what their consoles complain of."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._opened: list[Any] = []
        self._allowed: list[str] = []
        self.complaints: list[str] = []

    def __call__(
        self, *, cookies: Any = (), permissions: Sequence[str] = (), browser: Browser | None = None, **more: Any
    ) -> Page:
        context = new_visitor(browser or self._browser, **more)
        self._opened.append(context)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.grant_permissions(["clipboard-read", "clipboard-write", *permissions])
        if cookies:
            context.add_cookies(cookies)
        return context.new_page()

    def expect_complaint(self, pattern: str) -> None:
        """Say that the browser itself will complain of what this test is about."""
        self._allowed.append(pattern)

    def close(self) -> None:
        """Close every page, so that none asks for anything any more."""
        while self._opened:
            self._opened.pop().close()

    def unexpected(self) -> list[str]:
        return [each for each in self.complaints if not any(re.search(pattern, each) for pattern in self._allowed)]

    def _on_console(self, message: ConsoleMessage) -> None:
        # A stack's own page is not ours to judge.
        ours = (urlsplit(message.location["url"]).hostname or "127.0.0.1") == "127.0.0.1"
        if message.type in {"error", "warning"} and ours:
            self.complaints.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _on_error(self, error: WebError) -> None:
        self.complaints.append(f"uncaught: {error.error}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visitors]:
    """Open a new visitor's page; at the end nobody's console may have complained."""
    visitors = Visitors(browser)
    yield visitors
    visitors.close()
    assert visitors.unexpected() == []


@pytest.fixture
def serve(
    start_portal: Callable[..., PortalServer], emulator: Emulator, visit: Visitors
) -> Iterator[Callable[..., PortalServer]]:
    """Start a portal whose stacks have addresses that this browser can open; pages are closed before it stops."""

    def start(**values: Any) -> PortalServer:
        port = urlsplit(emulator.url).port
        return start_portal(**{"stack_domain_suffix": "localhost", "stack_public_port": port, **PATIENT, **values})

    yield start
    visit.close()


@pytest.fixture
def portal(serve: Callable[..., PortalServer]) -> PortalServer:
    return serve()
