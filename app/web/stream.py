"""Event streams: a deployment's events from any number on, as server-sent events or JSON lines, until it is over."""

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from app.deployments.events import RecordedEvent
from app.deployments.model import DeploymentRecord
from app.engine.queue import describe_place, is_waiting
from app.errors import PortalError
from app.i18n import Language
from app.store.errors import StoreAway
from app.web.api.schemas.events import event_json
from app.web.deps import address_of, language_of, portal_of
from app.web.effects import ReloadEffect, as_json
from app.web.projector import effects_of_waiting
from app.web.rate_limits import limits_of

# Proxies must neither keep nor rewrite nor collect what is sent.
HEADERS: Final = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
_NDJSON: Final = "application/x-ndjson"
_RETRY_MS: Final = 1000
_SOON: Final = 0.05
# How often the place in the portal's own line is told again.
_LINE_SECONDS: Final = 2.0

# What was written for one watcher serves the thousand others: number, deployment and language make it unique.
_encoded: dict[tuple[str, int, str], str] = {}
_ENCODED_KEPT: Final = 2000


@dataclass(frozen=True)
class Reading:
    """Where a reader begins: after which event; gap: the number that was asked for, where there is no such event."""

    after: int
    gap: int | None = None


def parse_place(request: Request) -> int:
    """Return the number after which to read: `Last-Event-ID`, which a browser sends by itself, precedes `?after=`.

    A header that is no number counts as 0. Raises PortalError `after_invalid` for such a parameter.
    """
    header = request.headers.get("last-event-id")
    if header is not None:
        return int(header) if _is_number(header) else 0
    after = request.query_params.get("after")
    if after is None:
        return 0
    if not _is_number(after):
        raise PortalError("after_invalid", field="after")
    return int(after)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,9}", text))


def stream_events(request: Request, record: DeploymentRecord, *, follow: bool, named: bool) -> Response:
    """Answer with the events of a deployment, from the reader's place on, as one of the streams that he may hold.

    follow: JSON lines, past the newest event. named: whether a server-sent event bears its type as its name, so that a
    browser hands it only to who listens to that very type.

    204 to a reader that has seen a completed run to its end, so that EventSource stops asking.
    """
    place = parse_place(request)
    over = record.conclusion is not None
    language = language_of(request)
    if over and place >= record.last_event:
        return Response(status_code=204, headers=HEADERS)
    reading = _reading(record, place)
    if _NDJSON in request.headers.get("accept", ""):
        lines = StreamingResponse(
            _lines(request, record, reading, language, follow=follow), media_type=_NDJSON, headers=HEADERS
        )
        # Polling holds nothing: it is how a page goes on that got no stream.
        return _Held(lines) if follow else lines
    return _Held(
        EventSourceResponse(
            _events(request, record, reading, language, named=named),
            headers=HEADERS,
            # Its own heartbeat is a comment that scripts cannot see; ours is an event, sent below.
            ping=0,
            # At a stop a stream ends by itself, and says when to come back; one that does not is cut by the server.
            shutdown_grace_period=math.inf,
            sep="\n",
        )
    )


def _reading(record: DeploymentRecord, place: int) -> Reading:
    """Begin after a number, or after the next one that there is, where those between are not there."""
    if place > record.last_event:
        return Reading(record.last_event, gap=place)
    before_last = record.last_event - 1
    if record.log_expired_at is not None and place < before_last:
        return Reading(before_last, gap=place)
    return Reading(place)


class _Held(Response):
    """A stream that counts as its reader's from its first byte until it ends, in whatever way that is.

    Raises PortalError `too_many_streams` in place of the first byte. Not in the stream itself, which never begins for
    a reader who has gone by then, and so would never end.
    """

    def __init__(self, stream: Response) -> None:
        super().__init__()
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        with limits_of(request).streams.hold(address_of(request) or ""):
            await self._stream(scope, receive, send)


async def _events(
    request: Request, record: DeploymentRecord, reading: Reading, language: Language, *, named: bool
) -> AsyncIterator[ServerSentEvent]:
    def unnumbered(kind: str, data: Mapping[str, Any], retry: int | None = None) -> ServerSentEvent:
        if named:
            return ServerSentEvent(event=kind, data=json.dumps(data), retry=retry)
        return ServerSentEvent(data=json.dumps({"type": kind, **data}), retry=retry)

    settings = portal_of(request).settings
    end = time.monotonic() + settings.sse_timeout_seconds
    # The first bytes go out at once, so that a proxy that collects them is noticed.
    yield unnumbered("heartbeat", {}, _RETRY_MS)
    if reading.gap is not None:
        yield unnumbered("gap", _gap(reading))
    waits, quiet = is_waiting(record), settings.sse_heartbeat_seconds
    if waits:
        quiet = min(quiet, _LINE_SECONDS)
    async for events in portal_of(request).broker.follow(record.id, reading.after, quiet=quiet):
        for event in events:
            waits = waits and event.n <= record.last_event
            name = event.type if named else None
            yield ServerSentEvent(id=str(event.n), event=name, data=encode(event, record, language))
            if _is_last(event, record):
                return
        if not events:
            place = await _place(request, record, language) if waits else None
            yield unnumbered("waiting", place) if place else unnumbered("heartbeat", {})
        if time.monotonic() > end or is_stopping(request):
            yield unnumbered("pause", {}, _RETRY_MS)
            return


async def _lines(
    request: Request, record: DeploymentRecord, reading: Reading, language: Language, *, follow: bool
) -> AsyncIterator[str]:
    settings = portal_of(request).settings
    end = time.monotonic() + settings.sse_timeout_seconds
    if reading.gap is not None:
        yield json.dumps({"type": "gap", **_gap(reading)}) + "\n"
    waits, quiet = is_waiting(record), settings.sse_heartbeat_seconds if follow else _SOON
    if waits:
        quiet = min(quiet, _LINE_SECONDS)
    place = reading.after
    async for events in portal_of(request).broker.follow(record.id, reading.after, quiet=quiet):
        for event in events:
            waits = waits and event.n <= record.last_event
            yield encode(event, record, language) + "\n"
            place = event.n
            if _is_last(event, record):
                return
        if not events:
            if follow:
                waiting = await _place(request, record, language) if waits else None
                yield json.dumps({"type": "waiting", **waiting} if waiting else {"type": "heartbeat"}) + "\n"
            elif place >= record.last_event:  # else the store is away, and the rest comes when it is back
                if waiting := await _place(request, record, language):
                    yield json.dumps({"type": "waiting", **waiting}) + "\n"
                return
        if time.monotonic() > end or is_stopping(request):
            return


def _gap(reading: Reading) -> dict[str, Any]:
    return {"after": reading.gap, "last": reading.after, "effects": as_json([ReloadEffect()])}


def _is_last(event: RecordedEvent, record: DeploymentRecord) -> bool:
    """Whether the deployment ends with an event; an attempt before the present one ended with one like it."""
    return event.conclusion is not None and event.n >= record.last_event


async def _place(request: Request, record: DeploymentRecord, language: Language) -> dict[str, Any] | None:
    """Return the current place in the portal's own queue; it is not recorded, so it has no number."""
    try:
        place = await portal_of(request).waiting.place(record)
    except StoreAway:
        return None
    if place is None:
        return None
    return {
        "position": place.position,
        "total": place.total,
        "estimateSeconds": place.estimate_seconds,
        "message": describe_place(place, language),
        "effects": as_json(effects_of_waiting(record, place, language)),
    }


def is_stopping(request: Request) -> bool:
    """Whether this process was told to stop, so that nobody is to wait here any longer."""
    stopping: asyncio.Event = request.app.state.stopping
    return stopping.is_set()


def encode(event: RecordedEvent, record: DeploymentRecord, language: Language) -> str:
    """Return an event as one line of JSON, written once for all readers of a language."""
    place = (event.deployment_id, event.n, language.code)
    if (text := _encoded.get(place)) is None:
        if len(_encoded) >= _ENCODED_KEPT:
            _encoded.clear()
        data = event_json(event, record.created_at, language)
        text = _encoded[place] = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text
