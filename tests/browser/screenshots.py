"""Photographs every page into screenshots/: `python -m tests.browser.screenshots [--readme] [state ...]`.

With `--readme` only the picture at the head of the README is taken anew.
"""

import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.chromium import DESKTOP, LANGUAGES, PHONE, THEMES, find_chromium, new_visitor, settle, start_chromium
from tests.browser.gallery import View, open_gallery

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
                        page.screenshot(path=file, full_page=name not in {"cancel-dialog", "docs"})


def photograph_for_readme(browser: Browser, view: View) -> None:
    README_PICTURE.parent.mkdir(exist_ok=True)
    with new_visitor(browser, reduced_motion="reduce") as visitor:
        visitor.add_cookies(view.cookies)
        page = visitor.new_page()
        page.goto(view.url)
        settle(page)
        page.screenshot(path=README_PICTURE, full_page=True)
    print(f"{README_PICTURE.relative_to(ROOT)}: {README_PICTURE.stat().st_size / 1000:.0f} kB")


def main(arguments: list[str]) -> int:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # a portal that tries https on an emulator without
    chromium = find_chromium()
    if chromium is None:
        print("No chromium was found.", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as folder,
        open_gallery(Path(folder)) as views,
        start_chromium(chromium) as browser,
    ):
        if "--readme" in arguments:
            photograph_for_readme(browser, views["running"])
        else:
            photograph(browser, {name: view for name, view in views.items() if not arguments or name in arguments})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
