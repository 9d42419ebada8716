"""The script's effects are the projector's: a page that watched has the very elements of one that is loaded later."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import pytest
from playwright.sync_api import Page, Route, expect

from app.deployments.events import (
    CancelRequested,
    Event,
    LogLine,
    Progressed,
    QueuePosition,
    RecordedEvent,
    Warned,
)
from app.deployments.sentences import MESSAGES
from app.engine.queue import Place
from app.engine.saga import Outcome
from app.errors import PortalError
from app.i18n import LANGUAGES
from app.operations.create import CREATE
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.operations.steps import CODE
from app.operations.steps.deploy import Deploy
from app.operations.steps.verify import Verify
from app.web.api.schemas.events import event_json
from app.web.effects import as_json
from app.web.projector import effects_of_waiting, project
from app.web.ui.deployment.view import DeploymentPage
from app.web.ui.shared.renderer import Renderer
from app.web.ui.shared.view import Viewer
from tests.browser.conftest import Visitors
from tests.browser.reading import deploy, rows, states, wait_for
from tests.runs import BEGAN, URL, Story, tell
from tests.servers import Emulator, PortalServer
from tests.waiting import wait_until


@dataclass(frozen=True)
class Painted(Event):
    """An event that only a newer portal has, or a test."""

    type: ClassVar[str] = "painted"
    step: str
    colour: str


REFUSED: Final = PortalError("dokploy_refused")
QUEUE: Final = (QueuePosition(9, 9, 400.0), QueuePosition(3, 9, 60.0), Progressed("deploy", "queue_slow"))
AWAY: Final = (Warned("dokploy_away"), LogLine("pulling <b>layer</b>"), Warned("tls_not_ready"))
STORIES: Final = {
    "ready": tell(noise=[(), (), (Warned("plain_http"),), (), (), QUEUE, AWAY]),
    "undone": tell(errors={"deploy": REFUSED}, noise=[(), (), QUEUE[:1], AWAY]),
    "left": tell(errors={"verify": REFUSED}, stays={"application": REFUSED}),
    "both fail": tell(errors={"configure": REFUSED, "domain": REFUSED}),
    "canceled": tell(errors={"deploy": PortalError("canceled")}, noise=[*[()] * 6, (CancelRequested(),)]),
    "again, failed": tell(REDEPLOY, errors={"application": REFUSED}),
    "removed": tell(REMOVE, noise=[(), AWAY[1:2]]),
    "not removed": tell(REMOVE, errors={"volume": REFUSED}),
    "newer": tell(noise=[(Painted("deploy", "blue"),), (Painted("no such step", "red"),)]),
}

ADDRESS: Final = "/deployments/01JD"
# What a page that watched may have otherwise: where it began, what was spoken, and the time that runs at a step.
ELEMENTS: Final = """() => {
    const main = document.querySelector("main").cloneNode(true);
    for (const name of ["data-after", "data-clock"]) main.querySelector("#run").removeAttribute(name);
    main.querySelector("#speech").textContent = "";
    for (const note of main.querySelectorAll('[data-s="now"] [data-note]')) note.textContent = "";
    const words = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    while (words.nextNode()) words.currentNode.data = words.currentNode.data.trim();
    main.normalize();
    for (const each of main.querySelectorAll("*")) {
        const named = [...each.attributes].map(({ name, value }) => [name, value]).sort();
        for (const [name] of named) each.removeAttribute(name);
        for (const [name, value] of named) each.setAttribute(name, value);
    }
    const icon = document.querySelector('link[rel="icon"]').getAttribute("href");
    return [document.title, icon, ...main.outerHTML.split(/(?=<)/)];
}"""


class Stage:
    """Shows a page as it was after some event of a story, and streams to it what it is given."""

    def __init__(self, visit: Visitors, portal: PortalServer, story: Story, lang: str = "en") -> None:
        self._visit, self._portal, self._story, self._lang = visit, portal, story, LANGUAGES[lang]
        self._renderer = Renderer("1.0")

    def open(self, at: int, told: Sequence[dict[str, Any]] = (), *, place: Place | None = None) -> Page:
        page = self._visit(reduced_motion="reduce")
        page.route(f"**{ADDRESS}", lambda route: route.fulfill(body=self._html(at, place), content_type="text/html"))
        page.route("**/api/deployments/01JD/events*", lambda route: self._stream(route, told))
        page.goto(self._portal.url + ADDRESS)
        return page

    def told(self, event: RecordedEvent) -> dict[str, Any]:
        return event_json(event, self._story.record.created_at, self._lang)

    def _stream(self, route: Route, told: Sequence[dict[str, Any]]) -> None:
        lines = [json.dumps(each) for each in [{"type": "heartbeat"}, *told]]
        if "follow=false" in route.request.url:  # a page that hears nothing more for a while polls
            route.fulfill(body="\n".join(lines), content_type="application/x-ndjson")
        else:
            assert "named=false" in route.request.url
            # It ends at once; what it brings again when it is asked for again is known by its number.
            body = "retry: 3600000\n" + "".join(f"data: {line}\n\n" for line in lines)
            route.fulfill(body=body, content_type="text/event-stream")

    def _html(self, at: int, place: Place | None) -> str:
        record = self._story.records[max(n for n in self._story.records if n <= at)]
        view = project(record, self._story.events[:at], self._lang, place=place)
        page = DeploymentPage(
            id="01JD",
            begins_stack=record.operation.begins_stack,
            ends_stack=record.operation.ends_stack,
            name="ada",
            running=record.operation.headings.running,
            succeeded=record.operation.headings.succeeded,
            failed=record.operation.headings.failed,
            host=URL.removeprefix("https://"),
            url=URL,
            image="",
            status="deploy",
            undoing=view.undoing,
            conclusion=None,
            sentence=view.sentence,
            stations=view.stations,
            log=view.log,
            last_event=at,
            clock=BEGAN.isoformat(),
            warnings=view.warnings,
            manager=True,
            cancelable=view.cancelable,
            queue=view.queue,
        )
        return self._renderer.render(page, Viewer(self._lang, ADDRESS))


def elements(page: Page) -> list[str]:
    found: list[str] = page.evaluate(ELEMENTS)
    return found


def same(watched: Page, loaded: Page) -> None:
    """Wait until one page has the elements of the other."""
    wanted = elements(loaded)
    wait_until(lambda: elements(watched) == wanted, pause=0.05, tell=lambda: difference(elements(watched), wanted))


def difference(found: list[str], wanted: list[str]) -> str:
    return "\n".join(f"{one!r} is to be {other!r}" for one, other in zip(found, wanted, strict=False) if one != other)


@pytest.mark.parametrize("lang", ["en", "ar"])
@pytest.mark.parametrize("name", STORIES)
def test_a_page_that_watched_has_the_elements_of_one_that_is_loaded_later(
    visit: Visitors, portal: PortalServer, name: str, lang: str
):
    story = STORIES[name]
    stage = Stage(visit, portal, story, lang)
    # All but the end, at which a page is fetched again.
    last = len(story.events) - 1
    told = [stage.told(event) for event in story.events[:last]]
    if name == "newer":  # and one of its effects is new as well
        told[2]["effects"].insert(0, {"effect": "sparkle", "name": "deploy"})

    loaded = stage.open(last)

    wait_for(loaded, f'#log li[data-n="{last}"]')
    for begins in sorted({1, last // 3, 2 * last // 3}):
        same(stage.open(begins, told[begins:]), loaded)


def test_who_waits_in_the_portals_queue_sees_the_same_whenever_it_looked(visit: Visitors, portal: PortalServer):
    story = STORIES["ready"]
    stage = Stage(visit, portal, story)
    record = replace(story.records[1], started_at=None)
    story.records[1] = record
    place = Place(5, 9, 120.0)
    waiting = {"type": "waiting", "effects": as_json(effects_of_waiting(record, place, LANGUAGES["en"]))}

    watched = stage.open(1, [waiting])

    same(watched, stage.open(1, place=place))
    expect(watched.locator(".yard .more")).to_have_text("+3")
    # And nothing of it is left once it has begun.
    same(stage.open(1, [waiting, stage.told(story.events[1])]), stage.open(2))


def test_what_an_older_portal_streams_makes_the_page_fetch_itself(visit: Visitors, portal: PortalServer):
    """While portals are replaced one by one, a page of a new one may reach an old one, which sends no effects."""
    stage = Stage(visit, portal, STORIES["ready"])
    old = {key: value for key, value in stage.told(STORIES["ready"].events[2]).items() if key != "effects"}
    page = stage.open(1, [old])

    with page.expect_request(f"**{ADDRESS}"):
        pass


def test_an_event_of_a_new_class_is_shown_as_it_comes(
    visit: Visitors, portal: PortalServer, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
):
    class Paint(Deploy):
        """Tells the new event before it deploys."""

        async def work(self) -> Outcome:
            await self.context.tell(Painted(self.name, "blue"))
            return await super().work()

    # All that a new event costs besides its class: its sentence, and whoever tells it.
    monkeypatch.setitem(MESSAGES, "painted", "{step}: painted {colour}.")
    monkeypatch.setitem(CODE, CREATE.kind, [*CODE[CREATE.kind][:-2], Paint, Verify])
    emulator.fault("stuck")
    page = visit()
    deploy(page, portal)

    expect(page.locator("#log li", has_text="Deploy: painted blue.")).to_have_count(1)
    assert page.locator("#run[data-events]").count() == 1, "it still runs, so this came live"
    assert states(page)[-2] == "now"
    emulator.release()
    wait_for(page, ".sign")
    assert [row[2:] for row in rows(page) if "painted" in row[3]] == [["Deploy", "Deploy: painted blue."]]
