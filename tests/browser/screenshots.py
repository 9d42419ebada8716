"""Photographs every page into screenshots/: `python -m tests.browser.screenshots [--readme] [state ...]`.

With `--readme` only the picture at the head of the README is taken anew.
"""

import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser, FloatRect

from tests.browser.chromium import DESKTOP, LANGUAGES, PHONE, THEMES, find_chromium, new_visitor, settle, start_chromium
from tests.browser.gallery import View, open_gallery, open_running

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "screenshots"
README_PICTURE = ROOT / "docs" / "screenshot.png"


def photograph(browser: Browser, views: Mapping[str, View]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for lang in LANGUAGES:
        for theme in THEMES:
            for size in (PHONE, DESKTOP):
                for name, view in views.items():
                    with new_visitor(
                        browser, lang=lang, theme=theme, viewport=size, reduced_motion="reduce"
                    ) as visitor:
                        visitor.add_cookies(view.cookies)
                        page = visitor.new_page()
                        page.goto(view.url)
                        view.act(page)
                        settle(page)
                        file = FOLDER / f"{name}-{lang}-{size['width']}-{theme}.png"
                        page.screenshot(
                            path=file, full_page="dialog" not in name and name not in {"docs", "redeploying"}
                        )


def photograph_for_readme(browser: Browser, view: View) -> None:
    README_PICTURE.parent.mkdir(exist_ok=True)
    with new_visitor(browser, reduced_motion="reduce", viewport={"width": 1280, "height": 1000}) as visitor:
        visitor.add_cookies(view.cookies)
        page = visitor.new_page()
        page.goto(view.url)
        page.wait_for_timeout(2_500)  # the station at work shows its time
        settle(page)
        # From the top to the rule below the log.
        log = page.locator(".logs").bounding_box()
        assert log is not None
        clip: FloatRect = {"x": 0, "y": 0, "width": 1280, "height": log["y"] + log["height"] + 24}
        page.screenshot(path=README_PICTURE, full_page=True, clip=clip)
    print(f"{README_PICTURE.relative_to(ROOT)}: {README_PICTURE.stat().st_size / 1000:.0f} kB")


def main(arguments: list[str]) -> int:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a portal that tries https on an emulator without
    chromium = find_chromium()
    if chromium is None:
        print("No chromium was found.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, start_chromium(chromium) as browser:
        if "--readme" in arguments:
            with open_running(Path(folder)) as view:
                photograph_for_readme(browser, view)
        else:
            with open_gallery(Path(folder)) as views:
                photograph(browser, {name: view for name, view in views.items() if not arguments or name in arguments})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
