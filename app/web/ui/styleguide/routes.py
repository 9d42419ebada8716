"""The style page, for developers: every token, and every part of a page in every state, read from what is served."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Final, get_args

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from app.errors import N_
from app.i18n import LANGUAGES, Language
from app.operations.table import operation_of
from app.stacks.model import StackState
from app.web.effects import LogRow, QueuePlace, Station, StationState
from app.web.problems import show_code
from app.web.projector import END_NOTES, station
from app.web.ui.shared.qr import qr_code
from app.web.ui.shared.rendering import respond
from app.web.ui.shared.templating import STATIC_DIR, Renderer
from app.web.ui.shared.timeline import moment
from app.web.ui.stacks.routes import shown_state
from app.web.ui.styleguide.stylesheet import (
    SHAPE_CONTRAST,
    SHAPES,
    TEXT_CONTRAST,
    TEXTS,
    Token,
    contrast,
    rules,
    tokens,
)
from app.web.ui.views import (
    Fact,
    LineEnd,
    PastDeployment,
    SmallLine,
    Specimens,
    StacksPage,
    StylePage,
    Viewer,
)

router = APIRouter(include_in_schema=False)

PATH: Final = "/styleguide"
# One for each direction.
_SHOWN_IN: Final = ("en", "ar")
# A letter a station: the first of its state.
_LETTERS: Final[Mapping[str, StationState]] = {state[0]: state for state in get_args(StationState)}
_LINES: Final = (
    ("Ahead", "create", "wwwwwww"),
    ("A name is being checked", "create", "lwwwwww"),
    ("The name is free", "create", "rwwwwww"),
    ("The name cannot be used", "create", "owwwwww"),
    ("Under way, at two stations", "create", "dddnnww"),
    ("Next in Dokploy's line", "create", "dddddnw"),
    ("Third in Dokploy's line", "create", "dddddnw"),
    ("Far back in the portal's own", "create", "wwwwwww"),
    ("Running back", "create", "dduuufo"),
    ("Arrived", "create", "ddddddd"),
    ("Failed and undone", "create", "duuuufo"),
    ("A removal under way", "remove", "ddnww"),
    ("A removal that left something", "remove", "dddfo"),
)
_UNDOING: Final = "Running back"
# The yards of those that wait: where, and at which place.
_QUEUES: Final = {
    "Next in Dokploy's line": QueuePlace("deploy", 1),
    "Third in Dokploy's line": QueuePlace("deploy", 3),
    "Far back in the portal's own": QueuePlace("validate", 9),
}
_BEGAN: Final = datetime(2026, 11, 21, 9, 14, tzinfo=UTC)
# Stacks in every state: the name, how its last deployment ended, and the station that it reached.
_ROWS: Final[tuple[tuple[str, StackState, LineEnd, int], ...]] = (
    ("ada", StackState.RUNNING, "", 7),
    ("grace", StackState.DEPLOYING, "", 4),
    ("edsger", StackState.UNDOING, "undone", 6),
    ("linus", StackState.FAILED, "failed", 3),
    ("barbara", StackState.CANCELED, "canceled", 2),
    ("alan", StackState.LEFT, "undone", 5),
)
_LOG: Final = (
    "#1 resolve image ghcr.io/example/opencode:1.0",
    "#2 pull layer 7f1c9b2e of a name that is longer than the line on which it has to stand, whatever the screen",
    "Service ada updated",
)


@router.get(PATH)
async def styleguide(request: Request) -> Response:
    """The style page; in development only."""
    # Read each time: whoever looks at it is at work on it.
    page = style_page(request.app.state.renderer, (STATIC_DIR / "portal.css").read_text())
    # Within a page that runs from the right, what runs from the left would not be shown as it is.
    return respond(request, page, only_in=LANGUAGES["en"])


def style_page(renderer: Renderer, css: str) -> StylePage:
    """Make the page out of a stylesheet, and of the templates as they are."""
    known = {token.name: token for token in tokens(css)}
    colours = [token for token in known.values() if token.is_colour]
    spaces = [token for token in known.values() if re.fullmatch(r"s\d", token.name)]
    sizes = [token for token in known.values() if token.name.startswith("t-")]
    return StylePage(
        colours=[_colour(token, known) for token in colours],
        texts=_pairs(TEXTS, TEXT_CONTRAST, known),
        shapes=_pairs(SHAPES, SHAPE_CONTRAST, known),
        spaces=_plain(spaces),
        sizes=_plain(sizes),
        others=_plain(token for token in known.values() if token not in [*colours, *spaces, *sizes]),
        directions=[(LANGUAGES[code], _specimens(renderer, LANGUAGES[code], css)) for code in _SHOWN_IN],
    )


def _specimens(renderer: Renderer, language: Language, css: str) -> Markup:
    specimens = Specimens(
        at=f"{language.code}-",
        lines=[
            Specimens.Line(caption, _stations(kind, letters, language), caption == _UNDOING, _QUEUES.get(caption))
            for caption, kind, letters in _LINES
        ],
        states=states(css),
        icons=re.findall(r'<symbol id="(\w+)" viewBox="0 0 24 24">', (STATIC_DIR / "line.svg").read_text()),
        board=[_row(*each, language) for each in _ROWS],
        qr=qr_code("https://ada.ai.example.com"),
        facts=[
            Fact(language.text(N_("Image")), "ghcr.io/example/opencode:1.0", code=True),
            Fact(language.text(N_("Memory")), language.size(2**31)),
        ],
        log=[LogRow(n, f"0:{n:02}", "", text, raw=True) for n, text in enumerate(_LOG, 1)],
        problem=show_code("deploy_failed", {"image": "ghcr.io/example/opencode:1.0"}, language),
        taken=show_code("name_taken", {"name": "ada"}, language),
    )
    return Markup(renderer.render(specimens, Viewer(language, PATH)))  # noqa: S704  # escaped by its own template


def _row(name: str, state: StackState, end: LineEnd, reached: int, language: Language) -> StacksPage.Row:
    shown = shown_state(state, language)
    line = SmallLine(reached, 7, end, shown.words)
    last = PastDeployment(name, shown.words, line, moment(_BEGAN, language), shown.words, language.duration(68))
    return StacksPage.Row(name, f"{name}.ai.example.com", shown, "0.6.4", last)


def _stations(kind: str, letters: str, language: Language) -> list[Station]:
    names = zip(operation_of(kind).step_names, (_LETTERS[letter] for letter in letters), strict=True)
    return [
        station(name, state, _note(state, seconds), kind, language)
        for seconds, (name, state) in enumerate(names, start=1)
    ]


def _note(state: StationState, seconds: int) -> str | float | None:
    if state == "done":
        return float(seconds)
    if state in END_NOTES:
        return state
    return "" if state == "off" else None


def states(css: str) -> Sequence[str]:
    """Every state that a stylesheet knows, in its order."""
    found = chain.from_iterable(re.findall(r'\[data-s="(\w+)"\]', rule.selector) for rule in rules(css))
    return list(dict.fromkeys(found))


def _colour(token: Token, known: Mapping[str, Token]) -> StylePage.Colour:
    paper, sheet = known["paper"], known["sheet"]
    return StylePage.Colour(
        token.name,
        token.note,
        (
            _shade("light", token.value, paper.value, sheet.value),
            _shade("dark", token.dark, paper.dark, sheet.dark),
        ),
    )


def _shade(theme: str, value: str, paper: str, sheet: str) -> StylePage.Shade:
    return StylePage.Shade(theme, value, _ratio(value, paper), _ratio(value, sheet))


def _pairs(grounds: Mapping[str, Sequence[str]], needed: float, known: Mapping[str, Token]) -> list[StylePage.Pair]:
    return [
        StylePage.Pair(front, back, needed, _contrasts(known[front], known[back]))
        for front, backs in grounds.items()
        for back in backs
    ]


def _contrasts(front: Token, back: Token) -> Sequence[StylePage.Contrast]:
    return (
        StylePage.Contrast("light", front.value, back.value, _ratio(front.value, back.value)),
        StylePage.Contrast("dark", front.dark, back.dark, _ratio(front.dark, back.dark)),
    )


def _ratio(one: str, other: str) -> str:
    # Never rounded up: 4.49 is not 4.5.
    return f"{math.floor(contrast(one, other) * 10) / 10:.1f}"


def _plain(some: Iterable[Token]) -> list[StylePage.Token]:
    return [StylePage.Token(token.name, token.value, token.note) for token in some]
