"""Every state of every page: nothing that axe finds, nothing wider than the smallest phone, nothing in the console."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.chromium import DESKTOP, settle
from tests.browser.conftest import Visitors

SMALLEST: ViewportSize = {"width": 320, "height": 640}
STATES = (
    "account",
    "account-everybody",
    "account-new",
    "account-wrong",
    "audit",
    "audit-empty",
    "broken",
    "cancel-dialog",
    "canceled",
    "delete",
    "docs",
    "dokploy-away",
    "erase",
    "failed",
    "forbidden",
    "form",
    "form-free",
    "form-invalid",
    "form-kept",
    "form-plan",
    "form-taken",
    "languages",
    "leftovers",
    "leftovers-stranger",
    "not-found",
    "offer",
    "offered",
    "operator",
    "operator-empty",
    "password",
    "queued",
    "ready",
    "ready-gone",
    "ready-stranger",
    "record",
    "record-failed",
    "record-redeploy",
    "redeploy",
    "redeploy-failed",
    "redeploying",
    "remove-failed",
    "removed",
    "removed-kept",
    "removing",
    "running",
    "running-stranger",
    "sign-in",
    "sign-in-provider",
    "sign-in-proxy",
    "sign-in-wrong",
    "stack",
    "stack-busy",
    "stack-delete-dialog",
    "stack-left",
    "stack-password-dialog",
    "stack-password-pending",
    "stack-redeploy-dialog",
    "stacks",
    "stacks-empty",
    "take-over",
    "take-over-wrong",
    "taken-over",
    "token",
    "too-many",
    "undoing",
    "waiting",
)
AXE = Axe()


def test_every_state_is_looked_at(gallery):
    assert sorted(gallery) == sorted(STATES)


@pytest.mark.parametrize("state", STATES)
def test_pages_are_for_everybody(visit: Visitors, gallery, state: str):
    view = gallery[state]
    if view.status >= 400:
        visit.expect_complaint(f"status of {view.status}")
    page = visit(cookies=view.cookies, reduced_motion="reduce", extra_http_headers=dict(view.headers))
    for lang in view.languages:
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(view.in_language(lang))
        view.act(page)
        expect(page.locator("html")).to_have_attribute("lang", lang)
        settle(page)
        assert violations(page) == []
        # Only colours differ in the other theme.
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        assert violations(page, {"runOnly": ["color-contrast"]}) == []
        page.set_viewport_size(SMALLEST)
        assert page.evaluate("document.documentElement.scrollWidth") <= SMALLEST["width"], lang
        assert too_small(page) == []


def violations(page: Page, options: dict[str, Any] | None = None) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.axe_script)
    found = page.evaluate("options => axe.run(document, options)", {"resultTypes": ["violations"], **(options or {})})
    return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found["violations"]]


def too_small(page: Page) -> list[str]:
    """What a finger would miss: links in a text or a list may be small, buttons and fields not; a choice is its label."""
    found: list[str] = page.eval_on_selector_all(
        "button, .btn, summary, .prefs a, input:not([type=hidden], [type=radio], [type=checkbox], .plate *)",
        """all => all.filter(each => each.checkVisibility())
            .filter(each => each.getBoundingClientRect().height < 43.5 || each.getBoundingClientRect().width < 43.5)
            .map(each => each.outerHTML.slice(0, 200))""",
    )
    return found
