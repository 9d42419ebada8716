"""Debian's Chromium, driven by playwright: how it is found, started and dressed for a visitor."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, sync_playwright

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


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def start_chromium(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield browser
        browser.close()


def new_visitor(browser: Browser, *, lang: str = "en", theme: str = "light", **more: Any) -> BrowserContext:
    """A browser of one person's own, without cookies, whose system asks for a language and a theme."""
    context = browser.new_context(**{"locale": lang, "color_scheme": theme, "viewport": DESKTOP, **more})
    context.set_default_timeout(10_000)
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
