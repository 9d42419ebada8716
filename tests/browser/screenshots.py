"""Photographs every page into screenshots/: `python -m tests.browser.screenshots [--readme] [state ...]`.

With `--readme` only the pictures of the README are taken anew.
"""

import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import structlog
from playwright.sync_api import Browser, FloatRect, ViewportSize

from tests.browser.chromium import DESKTOP, PHONE, PICTURED, THEMES, new_visitor, settle, start_chromium
from tests.browser.gallery import View, open_for_readme, open_gallery
from tests.programs import find_program

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "screenshots"
# File, state, language, theme
README_PICTURES = (
    ("screenshot.png", "running", "en", "light"),
    ("screenshot-ar.png", "queued", "ar", "dark"),
)


def photograph(browser: Browser, views: Mapping[str, View]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for lang in PICTURED:
        for theme in THEMES:
            for size in (PHONE, DESKTOP):
                for name, view in views.items():
                    if lang not in view.languages:
                        continue
                    with new_visitor(
                        browser,
                        lang=lang,
                        theme=theme,
                        viewport=size,
                        reduced_motion="reduce",
                        extra_http_headers=dict(view.headers),
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


def photograph_for_readme(browser: Browser, view: View, file: Path, *, lang: str, theme: str) -> None:
    size: ViewportSize = {"width": 1280, "height": 1000}
    with new_visitor(browser, lang=lang, theme=theme, reduced_motion="reduce", viewport=size) as visitor:
        visitor.add_cookies(view.cookies)
        page = visitor.new_page()
        page.goto(view.url)
        page.wait_for_timeout(2_500)  # the station at work shows its time
        settle(page)
        # From the top to the rule below the log.
        log = page.locator(".logs").bounding_box()
        assert log is not None
        clip: FloatRect = {"x": 0, "y": 0, "width": 1280, "height": log["y"] + log["height"] + 24}
        page.screenshot(path=file, full_page=True, clip=clip)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")


def main(arguments: list[str]) -> int:
    # Some of the states are failures, which the portals log at length.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    chromium = find_program("chromium")
    if chromium is None:
        print("No chromium was found.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, start_chromium(chromium) as browser:
        if "--readme" in arguments:
            with open_for_readme(Path(folder)) as views:
                for name, state, lang, theme in README_PICTURES:
                    photograph_for_readme(browser, views[state], ROOT / "docs" / name, lang=lang, theme=theme)
        else:
            with open_gallery(Path(folder)) as views:
                if unknown := set(arguments) - set(views):
                    print(
                        f"No such state: {', '.join(sorted(unknown))}. There are: {', '.join(views)}", file=sys.stderr
                    )
                    return 1
                photograph(browser, {name: view for name, view in views.items() if not arguments or name in arguments})
            print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER.relative_to(ROOT)}/")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
