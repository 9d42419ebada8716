"""Debian's Chromium, driven by playwright: how it is found, started and dressed for a visitor."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, ViewportSize, expect, sync_playwright

from tests.waiting import WAIT_SECONDS

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 900}
# In which the whole journey is made, and pictures are taken.
PICTURED: Final = ("en", "nl", "ar")
THEMES: Final = ("light", "dark")
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_WAIT_MS: Final = WAIT_SECONDS * 1000
# Where programs write what is their user's.
_HOMES: Final = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")

expect.set_options(timeout=_WAIT_MS)


@contextmanager
def start_chromium(path: str) -> Iterator[Browser]:
    """Start Chromium, and the driver that it needs; a thread can have one driver."""
    with sync_playwright() as playwright, launch(playwright.chromium, path) as browser:
        yield browser


@contextmanager
def launch(kind: BrowserType, path: str) -> Iterator[Browser]:
    """Launch a browser with a home of its own, so that it leaves nothing in its user's."""
    # What it still writes while it ends may stay: the folder is in one that goes, too.
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        environment: dict[str, str | float | bool] = {**os.environ, **dict.fromkeys(_HOMES, home)}
        browser = kind.launch(executable_path=path, args=list(_ARGUMENTS), env=environment, timeout=_WAIT_MS)
        yield browser
        browser.close()


def new_visitor(browser: Browser, *, lang: str = "en", theme: str = "light", **more: Any) -> BrowserContext:
    """A browser of one person's own, without cookies, whose system asks for a language and a theme."""
    context = browser.new_context(**{"locale": lang, "color_scheme": theme, "viewport": DESKTOP, **more})
    context.set_default_timeout(_WAIT_MS)
    return context


def settle(page: Page) -> None:
    """Bring whatever moves to its end, so that pictures and measurements are the same every time."""
    page.evaluate("document.fonts.ready")
    page.evaluate(
        """() => Promise.allSettled(
            document.getAnimations()
                .filter((each) => each.effect.getComputedTiming().endTime !== Infinity)
                .map((each) => each.finished))"""
    )
