"""Everybody reaches everything: at twice the size, without motion, by the keyboard alone, and in forced colours."""

from itertools import combinations, pairwise
from typing import Any, Final

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from app.i18n import LANGUAGES
from tests.browser.chromium import DESKTOP, PHONE, settle
from tests.browser.conftest import Visitors
from tests.browser.reading import pasted, type_name, wait_for
from tests.stylesheets import SHEETS, states

STATES: Final = (
    "form",
    "form-taken",
    "form-plan",
    "queued",
    "running",
    "ready",
    "failed",
    "account",
    "audit",
    "offered",
)

# A window of 1280 by 900 at 200 %.
HALF: Final[ViewportSize] = {"width": 640, "height": 450}

SMALLEST: Final[ViewportSize] = {"width": 320, "height": 640}

# What cannot be read: cut off at an edge, or under something else. Letters reach a good third of their size up and down
# from the middle of their line; what is hidden from sight is left out.
UNREADABLE: Final = """() => {
    const found = [];
    const silent = (element) => element && (getComputedStyle(element).clipPath === "inset(50%)" || silent(element.parentElement));
    const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
        && !silent(element) && !element.closest(".skip");
    const brief = (element) => element.cloneNode().outerHTML.slice(0, 120);
    const cut = (element) => {
        const style = getComputedStyle(element);
        const scrolls = (axis) => ["auto", "scroll"].includes(style[`overflow-${axis}`]);
        const clips = (axis) => style[`overflow-${axis}`] !== "visible" && !scrolls(axis);
        return element.scrollWidth > element.clientWidth + 1 && (clips("x") || scrolls("x") || element.matches("input"))
            // A line may be a little lower than its font, whose letters do not fill it.
            || element.scrollHeight > element.clientHeight + 0.1 * parseFloat(style.fontSize) && clips("y");
    };
    for (const element of document.body.querySelectorAll("*")) {
        if (shown(element) && element.clientWidth && cut(element)) found.push(`cut off: ${brief(element)}`);
    }
    const scroller = (element) => element && (["auto", "scroll"].includes(getComputedStyle(element).overflowY) ? element : scroller(element.parentElement));
    const lines = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (!node.data.trim() || !shown(node.parentElement)) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        const reach = parseFloat(getComputedStyle(node.parentElement).fontSize) * 0.35;
        for (const box of range.getClientRects()) {
            if (box.width < 2) continue;
            const middle = (box.top + box.bottom) / 2;
            // Of what can be scrolled, only what is in sight.
            const frame = scroller(node.parentElement)?.getBoundingClientRect();
            if (frame && (middle < frame.top || middle > frame.bottom)) continue;
            lines.push({ node, of: node.parentElement, left: box.left, right: box.right, top: middle - reach, bottom: middle + reach });
            if (box.left < -1 || box.right > innerWidth + 1) found.push(`beyond the edge: ${node.data.trim()}`);
        }
    }
    const things = [...document.body.querySelectorAll("button, .btn, input, .dot, .train, svg.i")].filter(shown)
        .map((of) => ({ of, ...of.getBoundingClientRect().toJSON() }));
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
    for (const [at, line] of lines.entries()) {
        for (const other of [...lines.slice(at + 1).filter((each) => each.node !== line.node), ...things]) {
            if (other.of !== line.of && (other.of.contains(line.of) || line.of.contains(other.of)) && !other.node) continue;
            if (other.of === line.of && !other.node) continue;
            if (meet(line, other)) found.push(`under each other: ${line.node.data.trim()} / ${other.node?.data.trim() ?? brief(other.of)}`);
        }
    }
    return found;
}"""


def open_state(visit: Visitors, gallery: Any, state: str, *, lang: str = "en", **more: Any) -> Page:
    view = gallery[state]
    if view.status >= 400:
        visit.expect_complaint(f"status of {view.status}")
    page = visit(cookies=view.cookies, **{"reduced_motion": "reduce", **more})
    page.goto(view.in_language(lang))
    view.act(page)
    settle(page)
    return page


def scrolls_aside(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))


# Twice the size


@pytest.mark.parametrize("lang", ["en", "ar"])
@pytest.mark.parametrize("state", STATES)
def test_a_page_at_twice_its_size(visit: Visitors, gallery, state: str, lang: str):
    page = open_state(visit, gallery, state, lang=lang, viewport=HALF, device_scale_factor=2)

    assert not scrolls_aside(page)
    assert page.evaluate(UNREADABLE) == []


@pytest.mark.parametrize("lang", ["en", "ar"])
@pytest.mark.parametrize("state", STATES)
def test_letters_at_twice_their_size(visit: Visitors, gallery, state: str, lang: str):
    page = open_state(visit, gallery, state, lang=lang)

    page.evaluate("document.documentElement.style.fontSize = '200%'")
    settle(page)

    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") > 32
    assert not scrolls_aside(page)
    assert page.evaluate(UNREADABLE) == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_an_operators_header_is_whole_on_the_smallest_phone(visit: Visitors, gallery, lang: str):
    page = open_state(visit, gallery, "audit-empty", lang=lang, viewport=SMALLEST)

    links = page.locator(".nav a")
    expect(links).to_have_count(4)
    for link in links.all():
        box = link.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= SMALLEST["width"]
        assert box["height"] >= 44
    assert not scrolls_aside(page)
    assert page.evaluate(UNREADABLE) == []


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        ("document.querySelector('.head').style.marginBlockEnd = '-6rem'", "under each other"),
        ("lead.style.cssText = 'inline-size: 4rem; overflow: hidden; white-space: nowrap'", "cut off"),
        ("lead.style.cssText = 'block-size: 0.5rem; overflow: hidden'", "cut off"),
        ("lead.style.cssText = 'position: relative; inset-inline-start: -3rem'", "beyond the edge"),
        ("document.querySelector('#deploy').style.translate = '0 -5rem'", "under each other"),
    ],
)
def test_what_cannot_be_read_is_found(visit: Visitors, gallery, harm: str, expected: str):
    page = open_state(visit, gallery, "form", viewport=HALF)
    assert page.evaluate(UNREADABLE) == []

    page.evaluate(f"const lead = document.querySelector('.lead'); {harm}")

    assert any(expected in each for each in page.evaluate(UNREADABLE))


# Motion

MOVING: Final = "document.getAnimations().map((each) => each.animationName ?? each.transitionProperty)"


@pytest.mark.parametrize("state", ["running", "undoing", "queued", "removing"])
def test_nothing_moves_for_whoever_wants_no_motion(visit: Visitors, gallery, state: str):
    page = open_state(visit, gallery, state, reduced_motion="reduce")
    assert page.evaluate(MOVING) == []

    # What would move: a train on to the next station, and an edge under the pointer.
    page.evaluate("for (const stop of document.querySelectorAll('.stop')) stop.dataset.s = 'done'")
    for button in page.locator("main .btn:visible").all()[:1]:
        button.hover()

    assert page.evaluate(MOVING) == []


def test_the_check_of_a_name_does_not_turn_for_whoever_wants_no_motion(visit: Visitors, gallery):
    for motion, expected in (("no-preference", True), ("reduce", False)):
        page = open_state(visit, gallery, "form", reduced_motion=motion)
        page.route("**/api/check/**", lambda _route: None)  # an answer that does not come
        type_name(page, "hedy", "look")
        assert ("turn" in page.evaluate(MOVING)) == expected


def test_the_train_moves_for_everybody_else(visit: Visitors, gallery):
    page = open_state(visit, gallery, "running", reduced_motion="no-preference")
    lit = "getComputedStyle(document.querySelector('.stop[data-s=now] .train')).getPropertyValue('--lit')"
    before = page.evaluate(lit)

    page.wait_for_function(f"before => {lit} !== before", arg=before)
    moving = page.evaluate(
        f"() => {{ document.querySelector('.stop[data-s=now]').dataset.s = 'done'; return {MOVING}; }}"
    )

    assert "transform" in moving  # the track fills


# Keyboard

FOCUSED: Final = """() => {
    const element = document.activeElement;
    if (element === document.body) return null;
    const dressed = element.closest(".plate") ?? element;
    const style = getComputedStyle(dressed);
    const box = dressed.getBoundingClientRect();
    const around = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
    const label = element.labels?.[0]?.innerText;
    return {
        name: (element.ariaLabel || label || element.innerText).replace(/\\s+/g, " ").trim(),
        inMain: element.closest("main") !== null,
        inDialog: element.closest("dialog") !== null,
        seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && style.outlineColor !== style.backgroundColor,
        inSight: box.top - around > -1 && box.bottom + around < innerHeight + 1,
        left: box.left, right: box.right, top: box.top + scrollY, bottom: box.bottom + scrollY,
    };
}"""


def tab_through(page: Page, most: int = 40) -> list[dict[str, Any]]:
    """Press Tab from the first stop of the page, which skips to its content, to its end; tell every one after that."""
    page.focus(".skip")
    stops: list[dict[str, Any]] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None:
            return stops
        stops.append(stop)
    pytest.fail(f"no end after {most} stops: {[each['name'] for each in stops]}")


def assert_in_reading_order(stops: list[dict[str, Any]], lang: str) -> None:
    """Each stop is below the one before, or further on in its row."""
    for one, next_one in pairwise(stops):
        same_row = min(one["bottom"], next_one["bottom"]) - max(one["top"], next_one["top"]) > 4
        on = next_one["right"] < one["right"] if lang == "ar" else next_one["left"] > one["left"]
        assert on if same_row else next_one["top"] > one["top"], (one["name"], next_one["name"])


@pytest.mark.parametrize("lang", ["en", "ar"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_stop_is_seen_and_in_reading_order(visit: Visitors, gallery, lang: str, size: ViewportSize):
    for state in (
        "form-taken",
        "running",
        "ready",
        "failed",
        "delete",
        "offer",
        "take-over-wrong",
        "account",
        "audit-empty",
    ):
        page = open_state(visit, gallery, state, lang=lang, viewport=size)
        stops = tab_through(page)
        assert len(stops) > 7, state
        assert_in_reading_order(stops, lang)
        for each in stops:
            assert each["seen"], f"{state}: no outline around {each['name']!r} when it has the focus"
            assert each["inSight"], f"{state}: the outline around {each['name']!r} is out of sight"


@pytest.mark.parametrize(
    ("lang", "boxes"),
    [
        ("en", [(0, 10, 0, 10), (20, 30, 0, 10), (0, 10, 20, 30), (20, 30, 22, 28)]),
        ("ar", [(20, 30, 0, 10), (0, 10, 2, 8), (20, 30, 20, 30)]),
    ],
)
def test_stops_in_reading_order_pass(lang: str, boxes: list[tuple[int, int, int, int]]):
    assert_in_reading_order(stops_at(boxes), lang)


@pytest.mark.parametrize(
    ("lang", "boxes"),
    [
        ("en", [(20, 30, 0, 10), (0, 10, 0, 10)]),
        ("ar", [(0, 10, 0, 10), (20, 30, 0, 10)]),
        ("en", [(0, 10, 20, 30), (20, 30, 0, 10)]),
    ],
)
def test_stops_out_of_order_are_found(lang: str, boxes: list[tuple[int, int, int, int]]):
    with pytest.raises(AssertionError):
        assert_in_reading_order(stops_at(boxes), lang)


def stops_at(boxes: list[tuple[int, int, int, int]]) -> list[dict[str, Any]]:
    return [{"name": str(box), **dict(zip(("left", "right", "top", "bottom"), box, strict=True))} for box in boxes]


def test_a_stop_that_is_not_seen_is_found(visit: Visitors, gallery):
    page = open_state(visit, gallery, "form")
    page.evaluate("document.querySelector('#deploy').style.outline = 'none'")
    page.evaluate("document.querySelector('.mark').style.cssText = 'position: relative; inset-block-start: -2rem'")

    stops = {each["name"]: each for each in tab_through(page)}

    assert [name for name, each in stops.items() if not each["seen"] and each["inMain"]] == ["Deploy"]
    assert [name for name, each in stops.items() if not each["inSight"]] == ["AI Stack Deployer"]


def names_in_main(page: Page) -> list[str]:
    return [each["name"] for each in tab_through(page) if each["inMain"]]


def test_the_form_by_keyboard_alone(visit: Visitors, gallery):
    page = open_state(visit, gallery, "form")
    assert names_in_main(page) == ["Stack name", "Deploy", "What will be created?"]

    page.reload()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["name"] == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("ada")
    wait_for(page, '#answer[data-s="off"]')
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # cannot be sent, and says so again
    wait_for(page, '#answer[data-s="off"] #fork button')
    assert page.evaluate(FOCUSED)["name"] == "Stack name"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    chosen = page.evaluate("document.activeElement.value")
    page.keyboard.press("Enter")

    wait_for(page, '#answer[data-s="ready"]')
    expect(page.locator("#name")).to_have_value(chosen)
    assert page.evaluate(FOCUSED)["name"] == "Stack name"


def test_a_running_deployment_by_keyboard_alone(visit: Visitors, gallery):
    page = open_state(visit, gallery, "running")
    count = page.locator("#log-count").inner_text()
    assert names_in_main(page) == [f"Log {count}", "Log", "Stop and undo", "Tell me when it is over"]
    opener, dialog = page.locator("#cancel button"), page.locator("#sure")

    for key in ("Enter", "Space"):
        opener.focus()
        page.keyboard.press(key)
        expect(dialog).to_be_visible()
        assert page.evaluate(FOCUSED)["name"] == "Keep going"
        for _ in range(5):
            stop = page.evaluate(FOCUSED)
            assert stop is None or (stop["inDialog"] and stop["seen"]), "the focus has left the dialog"
            page.keyboard.press("Tab")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        assert page.evaluate(FOCUSED)["name"] == "Stop and undo"
    page.keyboard.press("Enter")
    page.keyboard.press("Space")  # keeps going
    expect(dialog).to_be_hidden()
    expect(opener).to_be_visible()

    summary = page.locator(".logs summary")
    summary.focus()
    page.keyboard.press("Space")
    expect(page.locator("#log")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator("#log")).to_be_visible()


def test_a_token_by_keyboard_alone(visit: Visitors, gallery):
    page = open_state(visit, gallery, "account-new")
    names = names_in_main(page)
    assert (names[0], names[1], names[-1]) == ("Take a stack over", "What it is for", "Make the token")
    assert len(names) == 10, "six boxes, and for how long"

    page = open_state(visit, gallery, "account")
    page.locator("#name").focus()
    page.keyboard.type("ci")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    with page.expect_navigation():
        page.keyboard.press("Enter")

    expect(page.locator("#secret")).to_contain_text("asdt_")
    page.get_by_role("button", name="Copy").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".secrets .said")).to_have_text("The token is copied.")
    assert pasted(page) == page.locator("#secret").inner_text()


def test_a_result_by_keyboard_alone(visit: Visitors, gallery):
    page = open_state(visit, gallery, "ready")
    count = page.locator("#log-count").inner_text()
    address = page.locator(".sign > a").inner_text()
    assert names_in_main(page) == [
        address,
        "Open (in a new tab)",
        "Copy address",
        "Password",
        "Show the password",
        "Copy the password",
        "Manage ada",
        f"Log {count}",
        "The record of this deployment",
        "Delete ada",
    ]

    page.get_by_role("button", name="Show the password").focus()
    page.keyboard.press("Space")
    expect(page.locator("#password")).to_have_attribute("type", "text")
    page.keyboard.press("Enter")
    expect(page.locator("#password")).to_have_attribute("type", "password")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".secrets .said")).to_have_text("The password is copied.")
    page.locator(".logs summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["name"] == "Log"  # its lines can be scrolled


# Forced colours


def test_states_can_be_told_apart_in_forced_colours(visit: Visitors, gallery):
    page = open_state(visit, gallery, "failed", forced_colors="active")
    text = page.evaluate("getComputedStyle(document.body).color")
    dot = page.locator(".list .dot").first  # one for all, as its place within its pixels tells them apart as well
    pictures: dict[str, bytes] = {}
    for state in states(SHEETS["portal.css"]):
        dot.evaluate("(dot, state) => { dot.dataset.s = state }", state)
        border = dot.evaluate(
            "dot => { const { borderStyle, borderWidth, borderColor } = getComputedStyle(dot); return [borderStyle, borderWidth, borderColor] }"
        )
        assert border[0] in {"solid", "dashed"}, state
        assert float(border[1].removesuffix("px")) >= 2, state
        assert border[2] == text, f"{state}: a border in another colour than text may not be seen"
        pictures[state] = dot.screenshot()

    assert len(pictures) >= 8
    same = {pair for pair in combinations(pictures, 2) if pictures[pair[0]] == pictures[pair[1]]}
    well = {"ready", "done", "run"}  # a name that is free, a step that is done, a stack that runs
    assert [pair for pair in same if not well.issuperset(pair)] == []


def test_the_line_travelled_is_seen_in_forced_colours(visit: Visitors, gallery):
    page = open_state(visit, gallery, "running", forced_colors="active")
    track = """stop => {
        const { backgroundColor, transform, blockSize } = getComputedStyle(stop, "::after");
        return [backgroundColor, transform, blockSize];
    }"""
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")

    colour, turned, thickness = page.locator('.stop[data-s="done"]').first.evaluate(track)
    assert (colour == ground, turned, float(thickness.removesuffix("px")) > 8) == (False, "none", True)
    _colour, turned, _thickness = page.locator('.stop[data-s="now"]').first.evaluate(track)
    assert turned == "matrix(0, 0, 0, 1, 0, 0)"  # not yet there
