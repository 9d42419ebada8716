"""What tests read off a page, and what they do on it, in words."""

import re
from contextlib import closing
from typing import Any

from playwright.sync_api import Locator, Page, expect

from app.i18n import LANGUAGES
from tests.servers import PortalServer

ALL_DONE = ["done"] * 7
AT_WORK = '.stop[data-station="deploy"][data-s="now"]'


def say(lang: str, sentence: str, **params: str) -> str:
    """A sentence of the templates, or of the code, in a language."""
    translated: str = LANGUAGES[lang].catalog.gettext(sentence)
    return translated.format_map(params) if "{" in translated else translated % params


def pasted(page: Page) -> str:
    """What was copied. The portal's own pages may not read it, so it is pasted into a page of nobody's."""
    with closing(page.context.new_page()) as other:
        other.set_content("<textarea></textarea>")
        field = other.locator("textarea")
        field.focus()
        other.keyboard.press("Control+V")
        text: str = field.input_value()
    page.bring_to_front()
    return text


def wait_for(page: Page, selector: str) -> None:
    """Wait until something is there to see. Looks at every frame, where `expect` lets up to a second pass."""
    page.wait_for_function("selector => document.querySelector(selector)?.checkVisibility()", arg=selector)


def type_name(page: Page, name: str, state: str = "ready") -> None:
    """Type a name and wait for the check's answer."""
    page.fill("#name", name)
    wait_for(page, f'#answer[data-s="{state}"]')


def deploy(page: Page, portal: PortalServer, name: str = "ada") -> str:
    """Fill in the form and send it; tell the deployment's id."""
    page.goto(portal.url)
    type_name(page, name)
    page.click("#deploy")
    wait_for(page, ".run")
    return deployment_id(page)


def switch_language(page: Page, code: str) -> None:
    page.click(".menu summary")
    page.click(f".menu [hreflang={code}]")


def deployment_id(page: Page) -> str:
    """The deployment that the page is about."""
    return page.url.rpartition("/")[2].partition("?")[0]


def expect_heading(page: Page, text: str) -> None:
    """Wait for a heading, as people see it."""
    expect(page.locator("h1")).to_have_text(text, use_inner_text=True)


def states(page: Page) -> list[str]:
    """How the stations look, in their order."""
    found: list[str] = page.eval_on_selector_all(".stop", "all => all.map(each => each.dataset.s)")
    return found


def station(page: Page, name: str) -> Locator:
    return page.locator(f'.stop[data-station="{name}"]')


def rows(page: Page) -> list[list[str]]:
    """The log: number, time, station and text of each row."""
    found: list[list[str]] = page.eval_on_selector_all(
        "#log li", "all => all.map(row => [row.dataset.n, ...[...row.children].map(each => each.textContent)])"
    )
    return found


def assert_nothing_lost_or_doubled(page: Page, portal: PortalServer) -> None:
    events = portal.events(deployment_id(page))
    assert [row[0] for row in rows(page)] == [str(event["n"]) for event in events]


def icon(page: Page) -> str:
    """Which favicon the page has."""
    address: Any = page.get_attribute('link[rel="icon"]', "href")
    return re.sub(r".*/favicon-?(\w*)\.svg.*", r"\1", address)


def focused(page: Page) -> str:
    """The element that has the focus: its id, or its kind."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.localName"))
