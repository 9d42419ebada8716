"""What the operator's page is given: numbers and charts of the last days, leftovers, connections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.deployments.model import DeploymentRecord
from app.deployments.sentences import label_of
from app.dokploy.health import DokployHealth
from app.errors import N_, PROBLEMS
from app.i18n import Language
from app.observation.leftovers import Leftover
from app.operations.create import CREATE
from app.operations.steps import side_by_side
from app.portal import Portal
from app.reporting.statistics import Overview
from app.stacks.model import StackState
from app.stacks.quotas import Quotas
from app.store.readiness import StoreState
from app.web.problems import STORE_CODES
from app.web.ui.shared.charts import DayBars, Dots, StairStep, days_chart, dots, stair
from app.web.ui.shared.paging import ONE_PAGE, PageLinks
from app.web.ui.shared.resources import RESOURCES, name_resource
from app.web.ui.shared.states import shown_state
from app.web.ui.shared.timeline import past_deployment
from app.web.ui.shared.view import Page, PastDeployment, ShownState

# The rows of the chart; a stack whose redeployment failed or was cancelled is there all the same.
_ROWS: Final[Sequence[Sequence[StackState]]] = (
    (StackState.RUNNING,),
    (StackState.DEPLOYING,),
    (StackState.UNDOING,),
    (StackState.REMOVING,),
    (StackState.FAILED, StackState.CANCELED),
    (StackState.LEFT,),
)


@dataclass(frozen=True)
class OperatorPage(Page):
    """The portal as a whole, for its operator: numbers and charts of the last days, from the record alone.

    Everything is in the viewer's language; at: the moment (UTC) of all of it; room: how many stacks there are of how
    many there may be, where that runs out; is_full: none is left; is_empty: there is nothing to draw yet;
    links, left_links: to more deployments, and to more leftovers.
    """

    template = "operator/operator.html"
    section = "operator"

    @dataclass(frozen=True)
    class Figure:
        """A number with what it counts; text: empty where there is none yet."""

        text: str
        label: str

    @dataclass(frozen=True)
    class Day:
        """A day: its number, its name, how it reads as a whole, its counts and its bars."""

        number: int
        name: str
        sentence: str
        succeeded: str
        canceled: str
        failed: str
        bars: DayBars

    @dataclass(frozen=True)
    class Tick:
        """A line of the scale, and its value in words."""

        y: float
        text: str

    @dataclass(frozen=True)
    class Step:
        """A step's usual and slow durations, and its row of the stair."""

        label: str
        usual: str
        slow: str
        stair: StairStep

    @dataclass(frozen=True)
    class State:
        """How many stacks are in a state."""

        state: ShownState
        count: str
        dots: Dots

    @dataclass(frozen=True)
    class Leftover:
        """Something that could not be removed: what, of which stack, why, and since when.

        next_try: when its removal is retried; empty where an operator has to act.
        """

        thing: str
        stack: str
        why: str
        since: str
        tries: str
        next_try: str
        deployment_id: str

    @dataclass(frozen=True)
    class Connection:
        """What the portal rests on, and how it is. notes: more sentences; misfits: calls, in Dokploy's own words."""

        name: str
        state: ShownState
        notes: Sequence[str] = ()
        misfits: Sequence[str] = ()

    at: str
    figures: Sequence[Figure]
    baseline: float
    ticks: Sequence[Tick]
    days: Sequence[Day]
    finished: int
    steps: Sequence[Step]
    measured: str
    states: Sequence[State]
    one_dot: str
    latest: Sequence[PastDeployment]
    leftovers: Sequence[Leftover]
    connections: Sequence[Connection]
    room: str = ""
    is_full: bool = False
    is_empty: bool = False
    in_session: bool = True
    links: PageLinks = ONE_PAGE
    left_links: PageLinks = ONE_PAGE


def operator_page(
    portal: Portal,
    overview: Overview,
    latest: Sequence[DeploymentRecord],
    left: Sequence[Leftover],
    store: StoreState,
    language: Language,
    *,
    in_session: bool,
) -> OperatorPage:
    """Show the portal as a whole."""
    chart = days_chart([(day.succeeded, day.canceled, day.failed) for day in overview.days])
    counts = [sum(overview.stacks.get(state, 0) for state in row) for row in _ROWS]
    unit, rows_of_dots = dots(counts)
    quotas = Quotas.of(portal.settings)
    return OperatorPage(
        at=language.moment(overview.at),
        figures=_figures(overview, language),
        baseline=chart.baseline,
        ticks=[OperatorPage.Tick(tick.y, language.number(tick.value)) for tick in chart.ticks],
        days=[
            OperatorPage.Day(
                number=day.day.day,
                name=language.day(day.day),
                sentence=language.text(
                    N_("{day}: {succeeded} succeeded, {canceled} cancelled, {failed} failed"),
                    {
                        "day": language.day(day.day, long=True),
                        "succeeded": day.succeeded,
                        "canceled": day.canceled,
                        "failed": day.failed,
                    },
                ),
                succeeded=language.number(day.succeeded),
                canceled=language.number(day.canceled),
                failed=language.number(day.failed),
                bars=bars,
            )
            for day, bars in zip(overview.days, chart.days, strict=True)
        ],
        finished=overview.finished,
        steps=_steps(overview, language),
        measured=language.plural(
            "Of {count} deployment that succeeded.",
            "Of the newest {count} deployments that succeeded.",
            overview.measured,
        ),
        states=[
            OperatorPage.State(shown_state(row[0], language), language.number(count), drawn)
            for row, count, drawn in zip(_ROWS, counts, rows_of_dots, strict=True)
        ],
        one_dot=language.text(N_("One dot is {count} stacks."), {"count": unit}) if unit > 1 else "",
        latest=[past_deployment(each, language, title=each.name) for each in latest],
        leftovers=[_leftover(each, language) for each in left if each.kind in RESOURCES],
        connections=[_dokploy(portal.health.now, language), _store(portal, store, language)],
        room=_room(overview.all_stacks, quotas, language),
        is_full=_is_full(overview.all_stacks, quotas),
        is_empty=overview.is_empty and not latest,
        in_session=in_session,
    )


def _room(stacks: int, quotas: Quotas, language: Language) -> str:
    """Say what to do before there is no room left; empty where there is enough."""
    if not quotas.is_near(stacks):
        return ""
    if _is_full(stacks, quotas):
        return language.text(N_("Nobody can deploy until a stack is deleted or MAX_STACKS is raised."))
    sentence = N_(
        "{count} of {limit} places for stacks are taken. When all are, nobody can deploy: delete what nobody needs, or "
        "raise MAX_STACKS."
    )
    return language.text(sentence, {"count": stacks, "limit": quotas.stacks})


def _is_full(stacks: int, quotas: Quotas) -> bool:
    """Tell whether no place is left. There are more stacks than places if MAX_STACKS was lowered."""
    return 0 < quotas.stacks <= stacks


def _figures(overview: Overview, language: Language) -> list[OperatorPage.Figure]:
    return [
        OperatorPage.Figure(language.number(overview.all_stacks), language.text(N_("stacks on this server"))),
        OperatorPage.Figure(
            "" if overview.success is None else language.share(overview.success),
            language.text(N_("of finished deployments succeeded")),
        ),
        _usual_time(overview.seconds, language),
        OperatorPage.Figure(language.number(overview.waiting), language.text(N_("waiting in line now"))),
    ]


def _usual_time(seconds: float | None, language: Language) -> OperatorPage.Figure:
    """Show a duration briefly, since it is set large: `47 s` or `1:48`."""
    if seconds is None or seconds < 60:
        text = "" if seconds is None else language.exact_duration(seconds)
        return OperatorPage.Figure(text, language.text(N_("from the request until it is ready (median)")))
    minutes, rest = divmod(round(seconds), 60)
    label = N_("minutes from the request until it is ready (median)")
    return OperatorPage.Figure(f"{minutes}:{rest:02}", language.text(label))


def _steps(overview: Overview, language: Language) -> list[OperatorPage.Step]:
    times = {step.name: step for step in overview.steps}
    phases = [[times[name] for name in phase if name in times] for phase in side_by_side(CREATE)]
    phases = [phase for phase in phases if phase]
    drawn = stair([[(step.median, step.slow) for step in phase] for phase in phases], rtl=language.direction == "rtl")
    return [
        OperatorPage.Step(
            label=label_of(step.name, language),
            usual=language.exact_duration(step.median),
            slow=language.exact_duration(step.slow),
            stair=row,
        )
        for step, row in zip((step for phase in phases for step in phase), drawn, strict=True)
    ]


def _leftover(leftover: Leftover, language: Language) -> OperatorPage.Leftover:
    return OperatorPage.Leftover(
        thing=name_resource(leftover.kind, leftover.name, language),
        stack=leftover.stack,
        why=language.text(PROBLEMS[leftover.code].title),
        since=language.moment(leftover.left_at),
        tries=language.plural("Tried {count} time", "Tried {count} times", leftover.attempts),
        next_try=language.moment(leftover.next_try_at) if leftover.next_try_at else "",
        deployment_id=leftover.deployment_id,
    )


def _dokploy(health: DokployHealth, language: Language) -> OperatorPage.Connection:
    """Show how Dokploy is: reachable or not, its version, whether calls are paused, and whether it supports ours."""
    notes = []
    if health.version:
        notes.append(language.text(N_("Version {version}."), {"version": health.version}))
    if health.circuit == "open":
        notes.append(
            language.text(
                N_("It is left alone for {seconds} s; new deployments are refused meanwhile."),
                {"seconds": health.seconds_left},
            )
        )
    if health.trouble:
        problem = PROBLEMS[f"dokploy_{health.trouble}"]
        state = ShownState(problem.title, "failed")
        notes.append(language.text(problem.hint))
    elif health.reachable is None:
        state = ShownState(N_("Not known yet"), "look")
    elif health.reachable:
        state = ShownState(N_("Reachable"), "run")
    else:
        state = ShownState(N_("Not reachable"), "failed")
    misfits = health.incompatible or ()
    if misfits:
        notes.append(
            language.plural(
                "It would not take {count} call of the portal:",
                "It would not take {count} calls of the portal:",
                len(misfits),
            )
        )
    elif health.incompatible is not None:
        notes.append(language.text(N_("It takes every call of the portal.")))
    shown = ShownState(language.text(state.words), state.dot)
    return OperatorPage.Connection("Dokploy", shown, notes, [str(each) for each in misfits])


def _store(portal: Portal, store: StoreState, language: Language) -> OperatorPage.Connection:
    kind = "SQLite" if portal.settings.sqlite_path else "PostgreSQL"
    notes = [language.text(N_("Its schema is {revision}."), {"revision": store.revision})] if store.revision else []
    if store.trouble is None:
        return OperatorPage.Connection(kind, ShownState(language.text(N_("Can be read and written")), "run"), notes)
    if store.trouble == "schema":
        sentence = N_("The schema is older than this version. Restart the portal.")
        return OperatorPage.Connection(kind, ShownState(language.text(sentence), "failed"), notes)
    problem = PROBLEMS[STORE_CODES.get(store.trouble, "store_unavailable")]
    state = ShownState(language.text(problem.title), "failed")
    return OperatorPage.Connection(kind, state, [*notes, language.text(problem.hint)])
