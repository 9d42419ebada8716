"""The pages for people: the form, a deployment while it runs and when it is over, and the question before deleting."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from app.deployments.events import STEP_LABELS, Kind, RecordedEvent, Status, describe, phase_of
from app.deployments.intake import Asker
from app.deployments.record import PAGE, DeploymentRecord, StepView
from app.deployments.request import MAX_NAME, MIN_NAME, could_be_id
from app.deployments.saga import ResourceState, StepState
from app.deployments.template import StackSecrets
from app.errors import N_, PortalError
from app.i18n import LANGUAGES, Language
from app.identity import Caller, Ownership
from app.web.api import (
    CallerDep,
    LanguageDep,
    PortalDep,
    cancel_deployment,
    find_deployment,
    managed_stack,
    plan_for,
    visible_stack,
)
from app.web.contexts import (
    DeletePage,
    DeploymentPage,
    DeployPage,
    LogRow,
    Page,
    QueuePlace,
    ShownProblem,
    Station,
    StationState,
)
from app.web.deps import (
    LANGUAGE_COOKIE,
    THEME_COOKIE,
    language_of,
    owner_of,
    page_headers,
    portal_of,
    read_form,
    remember_browser,
    remember_choice,
    same_site,
    theme_of,
)
from app.web.models import DeployBody
from app.web.problems import headers_of, show, show_code, status_of
from app.web.templating import END_NOTES, STATE_TEXTS, STATION_NOTES

router = APIRouter(include_in_schema=False)

_RESOURCES: Final = {
    "domain": N_("The address {name}"),
    "application": N_("The application {name}, with its settings and password"),
    "volume": N_("The volume {name}"),
    "project": N_("The project {name}"),
}


def respond(request: Request, page: Page, *, status: int = 200) -> HTMLResponse:
    """Render a page, and keep a language that was asked for."""
    language = language_of(request)
    path = request.url.path if request.method == "GET" else "/"
    html = request.app.state.renderer.render(page, language=language, path=path, theme=theme_of(request))
    response = HTMLResponse(html, status_code=status, headers=page_headers(language))
    asked = request.query_params.get("lang")
    if asked and asked.lower() in LANGUAGES:
        remember_choice(request, response, LANGUAGE_COOKIE, language.code)
    return response


@router.get("/")
async def form(request: Request, language: LanguageDep) -> Response:
    """The form."""
    return respond(request, _deploy_page(request, language, name=request.query_params.get("name", "")[:MAX_NAME]))


def _deploy_page(
    request: Request,
    language: Language,
    *,
    name: str,
    problem: ShownProblem | None = None,
    suggestions: Sequence[str] = (),
) -> DeployPage:
    settings = portal_of(request).settings
    return DeployPage(
        name=name,
        suffix=settings.stack_domain_suffix,
        url_prefix="https://" if settings.https else "http://",
        stations=[_station(step, "wait", None, "create", language) for step in STATION_NOTES["create"]],
        problem=problem,
        suggestions=suggestions,
        minimum=MIN_NAME,
        maximum=MAX_NAME,
    )


@router.post("/deploy")
async def deploy(request: Request, portal: PortalDep, caller: CallerDep, language: LanguageDep) -> Response:
    """Take in the form; on to the deployment's page, or back to the form with the reason."""
    same_site(request)
    fields = await read_form(request)
    name = fields.get("name", "")
    owner = owner_of(request, caller)
    try:
        deployment_request, plan = plan_for(DeployBody(name=name), portal)
        accepted = await portal.intake.deploy(
            deployment_request, plan, portal.template, Asker(owner=owner, actor=owner, trigger="user")
        )
    except PortalError as error:
        suggestions: list[str] = []
        if error.code in {"name_taken", "name_cleaning_up"}:
            suggestions = await portal.intake.suggest(plan.name, portal.settings.reserved_names)
        page = _deploy_page(request, language, name=name[:100], problem=show(error, language), suggestions=suggestions)
        refused = respond(request, page, status=status_of(error.code))
        refused.headers.update(headers_of(error))
        return refused
    response = RedirectResponse(f"/deployments/{accepted.deployment_id}", status_code=303)
    remember_browser(request, response)
    return response


@router.get("/deployments/{deployment_id}")
async def deployment(
    request: Request, deployment_id: str, portal: PortalDep, caller: CallerDep, language: LanguageDep
) -> Response:
    """A deployment: its progress, or how it ended."""
    # Events first: the record is then at least as new, and the page's script goes on after the last event shown.
    events = await _all_events(request, deployment_id) if could_be_id(deployment_id) else []
    record = await find_deployment(portal, deployment_id)
    return respond(request, await _deployment_page(request, record, events, caller, language))


async def _all_events(request: Request, deployment_id: str) -> list[RecordedEvent]:
    events: list[RecordedEvent] = []
    while True:
        batch = await portal_of(request).records.events(deployment_id, events[-1].n if events else 0)
        events += batch
        if len(batch) < PAGE:
            return events


async def _deployment_page(
    request: Request,
    record: DeploymentRecord,
    events: Sequence[RecordedEvent],
    caller: Caller,
    language: Language,
) -> DeploymentPage:
    manager = caller.manages(Ownership(record.owner_of_stack, record.manage_key_hash))
    over = record.conclusion is not None
    problem = show_code(record.problem["code"], record.problem["params"], language) if record.problem else None
    plan = record.plan
    ready = over and record.conclusion == "succeeded" and record.kind is not Kind.REMOVE and record.stack_exists
    return DeploymentPage(
        id=record.id,
        kind=record.kind,
        name=record.name,
        host=plan["host"],
        url=plan["url"],
        image=plan["image"],
        status=record.status,
        phase=phase_of(record.status, undoing=record.undoing),
        undoing=record.undoing and not over,
        conclusion=record.conclusion,
        sentence=_sentence(events, language),
        stations=_stations(record, language),
        log=[_log_row(event, record.created_at, language) for event in events],
        last_event=events[-1].n if events else 0,
        started=record.created_at.isoformat(),
        clock=datetime.now(UTC).isoformat(),
        warnings=_warnings(events, language),
        manager=manager,
        cancelable=record.kind is Kind.CREATE and not over and not record.undoing and not record.cancel_requested,
        queue=_queue(events, language) if not over else None,
        problem=problem,
        password=await _password(request, record) if manager and ready else None,
        removed=_removed(record, language),
        leftovers=[
            _resource(each.kind, each.name, language)
            for each in record.leftovers
            if each.kind in _RESOURCES and each.removed_at is None
        ],
        stack_exists=record.stack_exists,
    )


# An outage says what is going on now, and nothing any more once it is over: a sentence rather than a warning.
_AWAY = "warning.dokploy_away"


async def _password(request: Request, record: DeploymentRecord) -> str | None:
    portal = portal_of(request)
    stack = await portal.records.find_stack(record.name)
    if stack is None or stack.id != record.stack_id:
        return None
    return StackSecrets.decrypt(stack.secrets, portal.vault).password


def _sentence(events: Sequence[RecordedEvent], language: Language) -> str:
    for event in reversed(events):
        if event.key == _AWAY or event.type not in {"log_line", "warning"}:
            return describe(event.key, event.params, language)
    return ""


def _warnings(events: Sequence[RecordedEvent], language: Language) -> list[str]:
    return [
        describe(event.key, event.params, language)
        for event in events
        if event.type == "warning" and event.key != _AWAY
    ]


def _queue(events: Sequence[RecordedEvent], language: Language) -> QueuePlace | None:
    """The place in line, as long as nothing has moved since it was told."""
    for event in reversed(events):
        if event.type == "queue_position":
            seconds = event.params["estimate_seconds"]
            estimate = language.duration(seconds) if seconds is not None else ""
            return QueuePlace(event.params["position"], event.params["total"], estimate)
        if event.key != "queue_slow":
            return None
    return None


def _stations(record: DeploymentRecord, language: Language) -> list[Station]:
    over = record.status is Status.COMPLETED
    stations = []
    for step in record.steps:
        station = _station(step.name, *_state_of(step, record, over=over), record.kind, language)
        began = step.started_at.isoformat() if station.state == "now" and step.started_at else ""
        stations.append(replace(station, began=began))
    return stations


def _state_of(step: StepView, record: DeploymentRecord, *, over: bool) -> tuple[StationState, str | float | None]:
    """How a station looks, and what is noted beside it: a sentence's mark, seconds, or None for what it is for."""
    if step.state is StepState.COMPENSATION_FAILED:
        return "failed", "left"
    # Where it stopped stays in sight, although what it had made is removed as well.
    if record.problem and record.problem["step"] == step.name and record.problem["code"] != "canceled":
        return "failed", "failed"
    if step.state is StepState.FAILED:
        return ("failed", "failed") if record.problem and record.problem["code"] != "canceled" else ("off", "")
    if step.state is StepState.COMPENSATED:
        return "undone", "undone"
    if step.state is StepState.SUCCEEDED:
        return "done", step.seconds
    if step.state is StepState.RUNNING:
        return "now", None
    return ("off", "") if over or record.undoing else ("wait", None)


def _station(step: str, state: StationState, note: str | float | None, kind: str, language: Language) -> Station:
    if note is None:
        words = language.text(STATION_NOTES[kind][step])
    elif isinstance(note, str):
        words = language.text(END_NOTES[note]) if note else ""
    else:
        words = language.duration(note)
    return Station(
        name=step,
        label=language.text(STEP_LABELS[step]),
        state=state,
        state_text=language.text(STATE_TEXTS[state]),
        note=words,
    )


def _log_row(event: RecordedEvent, since: datetime, language: Language) -> LogRow:
    """An event as a row, the same that the page's script makes of it when it comes live."""
    seconds = max(0, _milliseconds(event.at) - _milliseconds(since)) // 1000
    step = event.params.get("step") or ("deploy" if event.type in {"log_line", "queue_position"} else "")
    return LogRow(
        n=event.n,
        time=f"{seconds // 60}:{seconds % 60:02}",
        step=language.text(STEP_LABELS[step]) if step else "",
        text=describe(event.key, event.params, language),
        raw=event.type == "log_line",
    )


def _milliseconds(moment: datetime) -> int:
    # Browsers know no shorter time; rounded as they do, both count the same seconds.
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def _removed(record: DeploymentRecord, language: Language) -> list[str]:
    names = {
        "domain": record.plan["host"],
        "application": record.plan["application"],
        "volume": record.plan["volume"],
        "project": record.plan["project"],
    }
    gone = [kind for kind in _RESOURCES if record.resources.get(kind) is ResourceState.REMOVED]
    return [_resource(kind, names[kind], language) for kind in gone]


def _resource(kind: str, name: str, language: Language) -> str:
    return language.text(_RESOURCES[kind], {"name": name})


@router.post("/deployments/{deployment_id}/cancel")
async def cancel(request: Request, deployment_id: str, portal: PortalDep, caller: CallerDep) -> Response:
    """Cancel from the page; one that has just ended is simply shown."""
    try:
        await cancel_deployment(request, portal, caller, deployment_id)
    except PortalError as error:
        if error.code != "deployment_over":
            raise
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.get("/stacks/{name}/delete")
async def ask_to_delete(request: Request, name: str, portal: PortalDep, caller: CallerDep) -> Response:
    """Ask before deleting."""
    stack = await visible_stack(portal, caller, name)
    return respond(request, DeletePage(name=stack.name, host=stack.plan["host"], volume=stack.plan["volume"]))


@router.post("/stacks/{name}/delete")
async def delete(request: Request, name: str, portal: PortalDep, caller: CallerDep) -> Response:
    """Delete, and on to the page of the removal."""
    stack = await managed_stack(request, portal, caller, name)
    fields = await read_form(request)
    volume = "keep" if fields.get("volume") == "keep" else "erase"
    deployment_id = await portal.intake.remove(stack, volume, Asker(stack.owner, caller.name, "user"))  # type: ignore[arg-type]
    return RedirectResponse(f"/deployments/{deployment_id}", status_code=303)


@router.post("/theme")
async def choose_theme(request: Request) -> Response:
    """Keep the reader's theme and go back to where he was, on this site."""
    same_site(request)
    fields = await read_form(request)
    here = fields.get("next", "/")
    # A second slash, or a backslash that browsers read as one, would lead to another site.
    safe = here if here.startswith("/") and not here.startswith(("//", "/\\")) and here.isprintable() else "/"
    response = RedirectResponse(safe, status_code=303)
    if fields.get("theme") in {"light", "dark"}:
        remember_choice(request, response, THEME_COOKIE, fields["theme"])
    return response
