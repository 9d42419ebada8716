"""The JSON of a deployment's events."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from app.deployments.events import RecordedEvent
from app.deployments.sentences import describe
from app.deployments.states import phase_of
from app.i18n import Language
from app.web.api.schemas.base import Answer
from app.web.effects import Effect, as_json
from app.web.projector import effects_of


class EventAnswer(Answer):
    """One event, in the reader's language."""

    n: int
    at: datetime
    type: str
    key: str
    params: dict[str, Any]
    message: str
    status: str
    current_phase: str
    undoing: bool
    conclusion: str | None
    effects: list[Annotated[Effect, Field(discriminator="effect")]]
    """What it changes on a page that shows the deployment, to be applied in order; programs need none of it."""


class ServerSentEvent(Answer):
    """One event of a stream. event: its `type`, or `heartbeat`, `gap`, `waiting` or `pause`, which have no number."""

    id: str | None = None
    """The event's `n`: send it as `Last-Event-ID` to go on from there."""
    event: str | None = None
    """None where `named=false` was asked for: browsers then take it for a `message`."""
    data: str = Field(json_schema_extra={"contentMediaType": "application/json"})
    """An EventAnswer; of one without a number something of its own."""
    retry: int | None = None


def event_json(event: RecordedEvent, created_at: datetime, language: Language) -> dict[str, Any]:
    """Return an event as JSON values, as EventAnswer describes them. created_at: when its deployment was requested."""
    return {
        "n": event.n,
        "at": event.at.isoformat(),
        "type": event.type,
        "key": event.key,
        "params": dict(event.params),
        "message": describe(event.key, event.params, language),
        "status": event.status,
        "currentPhase": phase_of(event.status, undoing=event.undoing),
        "undoing": event.undoing,
        "conclusion": event.conclusion,
        "effects": as_json(effects_of(event, created_at, language)),
    }
