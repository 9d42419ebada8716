"""How a deployment ends otherwise: undone, with something left, or removed at its owner's wish."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visitors
from tests.browser.reading import (
    ALL_DONE,
    AT_WORK,
    assert_nothing_lost_or_doubled,
    deploy,
    deployment_id,
    expect_heading,
    focused,
    states,
    station,
    type_name,
    wait_for,
)
from tests.servers import ADMIN_TOKEN, Emulator, PortalServer

# Milliseconds from one station to the next, as the page runs back; its clock is allowed a little.
PACE = 490


@pytest.mark.parametrize("lang", ["en", "ar"])
def test_a_failure_is_undone_on_the_line_and_can_be_tried_again(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, lang: str
):
    portal = serve()
    emulator.fault("fail")
    # In the middle of it, it is held.
    emulator.fault("status", "application.delete", status=500, times=-1)
    page = visit(lang=lang)
    deploy(page, portal)

    wait_for(page, '#stops[data-undoing] .stop[data-station="domain"][data-s="undone"]')
    assert states(page)[:2] == ["done", "done"]
    expect(station(page, "deploy")).to_have_attribute("data-s", "failed")
    emulator.clear_faults()
    wait_for(page, "#why")

    record = portal.record(deployment_id(page))
    assert (record["conclusion"], record["leftovers"], focused(page)) == ("failed", [], "h1")
    assert states(page) == ["done", *["undone"] * 4, "failed", "off"]
    expect(page.locator("html")).to_have_attribute("lang", lang)
    expect(page.locator(".why")).to_contain_text("ghcr.io/example/oh-my-opencode:1.0")
    expect(page.locator("[aria-labelledby=removed] li")).to_have_count(4)
    assert_nothing_lost_or_doubled(page, portal)
    assert emulator.left() == {}
    if lang == "en":
        expect(page.locator(".lead")).to_contain_text("It stopped at “Deploy”")
        expect(page.locator("[aria-labelledby=next]")).to_contain_text("Look at the log: the image may not exist")

    page.click("form[action='/deploy'] button")

    wait_for(page, ".sign")
    assert states(page) == ALL_DONE
    expect(page.locator("#password")).to_be_visible()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_it_runs_back_one_station_after_the_other(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator, motion: str
):
    portal = serve()
    emulator.fault("stuck")
    page = visit(reduced_motion=motion)
    deploy(page, portal)
    wait_for(page, AT_WORK)
    page.evaluate(
        """() => {
            window.moments = [];
            new MutationObserver((changes) => {
                for (const { target } of changes) if (target.dataset.s === "undone") moments.push(performance.now());
            }).observe(document.querySelector("#stops"), { subtree: true, attributeFilter: ["data-s"] });
        }"""
    )
    portal.client.post(
        f"/api/deployments/{deployment_id(page)}/cancel", headers={"authorization": f"Bearer {ADMIN_TOKEN}"}
    )
    portal.wait_for(deployment_id(page), "cancel_requested")
    emulator.release()

    wait_for(page, "#next")

    moments = page.evaluate("moments")
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert len(moments) >= 4
    if motion == "reduce":
        assert min(gaps) < PACE, "who wants no motion does not wait for it"
    else:
        assert min(gaps) >= PACE
    assert emulator.left() == {}


def test_what_is_left_is_named_and_can_be_removed(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve(undo_timeout_seconds=0.5)
    emulator.fault("open")
    emulator.fault("volume_in_use", times=-1)
    page = visit()
    deploy(page, portal)

    wait_for(page, "#left")

    expect_heading(page, "ada was not deployed")
    expect(page.locator("#why")).to_have_text("Open to strangers")
    expect(page.locator("[aria-labelledby=left] li")).to_have_text(["The volume portal-ai-workspace-ada"])
    expect(page.locator("[aria-labelledby=next]")).to_contain_text(
        "The name ada stays reserved until the leftover resources are deleted."
    )
    stranger = visit()
    stranger.goto(page.url)
    expect(stranger.locator("[aria-labelledby=left] li")).to_have_count(1)
    expect(stranger.locator(".danger")).to_have_count(0)

    emulator.clear_faults()
    page.get_by_role("link", name="Remove what is left").click()
    page.get_by_role("button", name="Delete ada").click()

    wait_for(page, "#removed")
    expect_heading(page, "ada is removed")
    assert emulator.left() == {}


def test_deleting_asks_first_and_frees_the_name(
    visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator
):
    portal = serve()
    page = visit()
    deploy(page, portal)
    wait_for(page, ".sign")
    result = page.url

    page.click(".loss")
    expect_heading(page, "Delete ada?")
    expect(page.locator("[value=erase]")).to_be_checked()
    expect(page.locator("main")).to_contain_text("portal-ai-workspace-ada")
    page.get_by_role("link", name="Keep ada").click()
    expect_heading(page, "ada is ready")
    page.click(".loss")
    page.get_by_role("button", name="Delete ada").dblclick()

    wait_for(page, "#removed")
    expect_heading(page, "ada is removed")
    assert states(page) == ["done"] * 5
    assert focused(page) == "h1"
    assert emulator.left() == {}
    page.goto(result)
    expect_heading(page, "ada is removed")
    expect(page.locator("#password, .sign")).to_have_count(0)
    page.get_by_role("link", name="Deploy a stack").click()
    type_name(page, "ada")


def test_files_are_kept_where_that_is_chosen(visit: Visitors, serve: Callable[..., PortalServer], emulator: Emulator):
    portal = serve()
    page = visit(lang="nl")
    deploy(page, portal)
    wait_for(page, ".sign")

    page.click(".loss")
    page.check("[value=keep]")
    page.click("main form [type=submit]")

    wait_for(page, "#removed")
    assert [volume["name"] for volume in emulator.left()["volumes"]] == ["portal-ai-workspace-ada"]
    expect(page.locator("[aria-labelledby=removed]")).not_to_contain_text("portal-ai-workspace-ada")
