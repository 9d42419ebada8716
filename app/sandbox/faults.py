"""Faults that tests and people request of the emulated server.

A fault is an object `{"call": "domain.create", "kind": "status", "status": 500, "times": 1}`. It strikes the calls
named by `call` (`*` is all of them); `match` restricts it to requests whose body or query contains that text,
`after` lets the first n of those pass, and `times` counts down (absent or 0: once; -1: until it is deleted).

While a call is answered:
- `status`: answers `status` (500) in Dokploy's error shape and does nothing; 401 is the bare one;
- `html`: answers an HTML page with `status` (200) and does nothing, as a proxy in front may;
- `echo`: answers `status` (500) in Dokploy's error shape and repeats all that it was sent, key and environments too;
- `echo_page`: answers the same as an HTML page, as a proxy that shows what it knows;
- `hang`: accepts the call and never answers, at most 120 s; does nothing;
- `drop_after`: does it, then closes the connection without an answer;
- `error_after`: does it, then answers `status` (500);
- `slow`: waits `seconds` (1), then does and answers it;
- `hold`: waits until `POST /sandbox/release`, then does and answers it; with `{"match": ...}` that releases only what a
  fault with the same `match` keeps;
- `late`: closes the connection at once, and does it `seconds` (1) later;
- `database_down`: every call with a key is a bare 401 and the keyless health check 500; without `times` it lasts
  for `seconds`, or until it is deleted;
- `volume_in_use`: dockerVolume.removeVolume finds the volume in use;
- `keep_volume`: dockerVolume.removeVolume leaves the volume, and says that it has removed it;
- `keep_route`: domain.delete and application.delete leave the route;
- `keep_service`: application.delete leaves the service running.

What becomes of a deployment (of application.deploy and application.redeploy when no `call` is named):
- `lose_queue`: the job vanishes;
- `drop_title`: the title gives way to Dokploy's default;
- `drop_both`: the same, and the description to none;
- `fail`: it ends `error`;
- `stuck`: the row stays `running`, for `seconds` or until `POST /sandbox/release`;
- `unknown_status`: the row shows `paused`, a status never seen before, for `seconds` or for ever;
- `never_ready`: done, but the container stays `Starting`;
- `crash`: done, but the container crashes again and again;
- `open`: the stack answers strangers without its password.

As a Dokploy of another version would, from then on until it is deleted:
- `other_version`: it says that it is v0.31.0;
- `renamed_call`: `call` is there under another name, which ends in `New`; the old one is not found;
- `renamed_field`: the input's `field` is there under another name, which ends in `New`; the old one is dropped.

At the ingress: `gateway` answers `status` (502, or 404, 500, 504) for `host`, or for every host, that has a route.

`rate_limit` gives the key a limit until it is deleted: each call counts twice, and once `times` (10) are counted every
call is a bare 401, until more than `seconds` (10) lie behind the last one that was accepted.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

ANSWERS = frozenset(
    {"status", "html", "echo", "echo_page", "hang", "drop_after", "error_after", "slow", "hold", "late"}
)  # fmt: skip
DEPLOYMENTS = frozenset(
    {"lose_queue", "drop_title", "drop_both", "fail", "stuck", "unknown_status", "never_ready", "crash", "open"}
)  # fmt: skip
RENAMES = frozenset({"renamed_call", "renamed_field"})
# Kinds that are a state of the server rather than the fate of a request.
_LASTING = RENAMES | {"database_down", "other_version"}
RATE_LIMIT = frozenset({"rate_limit"})
# Kinds that are about certain calls by their nature, and therefore need not name one.
IMPLIED_CALLS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(DEPLOYMENTS, ("application.deploy", "application.redeploy")),
    "database_down": ("*",),
    "rate_limit": ("*",),
    "volume_in_use": ("dockerVolume.removeVolume",),
    "keep_volume": ("dockerVolume.removeVolume",),
    "keep_route": ("domain.delete", "application.delete"),
    "keep_service": ("application.delete",),
    "other_version": ("settings.getDokployVersion",),
    "gateway": ("ingress",),
}
KINDS = ANSWERS | RENAMES | IMPLIED_CALLS.keys()
_DEFAULT_STATUS = {"status": 500, "error_after": 500, "echo": 500, "echo_page": 502, "html": 200, "gateway": 502}
_DEFAULT_SECONDS = {"slow": 1.0, "late": 1.0, "rate_limit": 10.0}
_DEFAULT_TIMES = {**dict.fromkeys(_LASTING, -1), "rate_limit": 10}
_GATEWAY_STATUSES = frozenset({404, 500, 502, 504})


class FaultError(ValueError):
    """A fault that cannot be: says what is wrong, by field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("This is not a fault the sandbox knows.")
        self.errors = errors


@dataclass
class Fault:
    """One fault that waits for its calls."""

    id: str
    kind: str
    calls: tuple[str, ...]
    times: int = 1
    status: int | None = None
    seconds: float | None = None
    match: str = ""
    after: int = 0
    host: str = ""
    field: str = ""
    until: float | None = None

    def row(self) -> dict[str, Any]:
        """Tell it as the control face does."""
        row = asdict(self)
        row["calls"] = list(self.calls)
        del row["until"]
        return row


class Faults:
    """The faults that are waiting."""

    def __init__(self, calls: frozenset[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._known_calls = calls
        self._clock = clock
        self._waiting: list[Fault] = []
        self._ids = count(1)

    def add(self, given: Any) -> Fault:
        """Take a fault, or refuse it with a reason for each field."""
        errors = _errors(given, self._known_calls)
        if errors:
            raise FaultError(errors)
        kind = given["kind"]
        seconds = given.get("seconds", _DEFAULT_SECONDS.get(kind))
        times = given.get("times") or _DEFAULT_TIMES.get(kind, 1)
        fault = Fault(
            id=f"fault-{next(self._ids)}",
            kind=kind,
            calls=(given["call"],) if given.get("call") else IMPLIED_CALLS[kind],
            times=times,
            status=given.get("status", _DEFAULT_STATUS.get(kind)),
            seconds=seconds,
            match=given.get("match", ""),
            after=given.get("after", 0),
            host=given.get("host", "").lower(),
            field=given.get("field", ""),
            until=self._clock() + seconds if kind == "database_down" and seconds is not None else None,
        )
        self._waiting.append(fault)
        return fault

    def rows(self) -> list[dict[str, Any]]:
        """List them, oldest first."""
        return [fault.row() for fault in self._waiting]

    def clear(self) -> int:
        """Forget them all, and say how many there were."""
        cleared = len(self._waiting)
        self._waiting.clear()
        return cleared

    def waiting(self, kinds: frozenset[str]) -> list[Fault]:
        """List those of some kinds, without counting them."""
        return [fault for fault in self._waiting if fault.kind in kinds]

    def take(self, call: str, text: str, kinds: frozenset[str], host: str = "") -> Fault | None:
        """Take the oldest fault of these kinds that strikes this request, and count it."""
        if not self._waiting:
            return None
        for fault in self._waiting:
            if fault.kind not in kinds or not (call in fault.calls or "*" in fault.calls):
                continue
            if (fault.match and fault.match not in text) or (fault.host and fault.host != host):
                continue
            if fault.until is not None and self._clock() >= fault.until:
                self._waiting.remove(fault)
                return None
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times > 0:
                fault.times -= 1
                if fault.times == 0:
                    self._waiting.remove(fault)
            return fault
        return None

    def take_all(self, call: str, text: str, kinds: frozenset[str]) -> dict[str, Fault]:
        """Take at most one fault of each kind: what is to become of one deployment can be several things."""
        taken = {}
        for kind in kinds if self._waiting else ():
            fault = self.take(call, text, frozenset({kind}))
            if fault is not None:
                taken[kind] = fault
        return taken


_TYPES: dict[str, tuple[type, ...]] = {
    "call": (str,),
    "kind": (str,),
    "status": (int,),
    "times": (int,),
    "match": (str,),
    "after": (int,),
    "seconds": (int, float),
    "host": (str,),
    "field": (str,),
}


def _errors(given: Any, known_calls: frozenset[str]) -> dict[str, str]:
    if not isinstance(given, dict):
        return {"": "A fault is a JSON object."}
    errors = {key: f"Unknown field; a fault has {', '.join(_TYPES)}." for key in given if key not in _TYPES}
    for key, types in _TYPES.items():
        if key in given and (not isinstance(given[key], types) or isinstance(given[key], bool)):
            errors[key] = f"Must be of type {types[-1].__name__}."
    if errors:
        return errors
    return _errors_of_kind(given, known_calls) | _errors_of_bounds(given)


def _errors_of_kind(given: dict[str, Any], known_calls: frozenset[str]) -> dict[str, str]:
    """Say what a kind of fault needs, or does not go with."""
    errors: dict[str, str] = {}
    kind, call = given.get("kind"), given.get("call")
    if kind not in KINDS:
        errors["kind"] = f"Unknown kind; there are {', '.join(sorted(KINDS))}."
    elif call in {None, "*"} and kind in RENAMES:
        errors["call"] = f"A fault of kind {kind} names one call."
    elif call is None and kind not in IMPLIED_CALLS:
        errors["call"] = f"A fault of kind {kind} names its call."
    if call is not None and call not in known_calls and call not in {"*", "ingress"}:
        errors["call"] = "Unknown call; name one that the emulator serves, like domain.create, or *."
    if kind == "gateway" and given.get("status", 502) not in _GATEWAY_STATUSES:
        errors["status"] = "A gateway answers 404, 500, 502 or 504."
    if kind == "renamed_field" and not given.get("field"):
        errors["field"] = "A fault of kind renamed_field names the field."
    if given.get("times", 1) == -1 and kind == "rate_limit":
        errors["times"] = "A limit is a number of times."
    return errors


def _errors_of_bounds(given: dict[str, Any]) -> dict[str, str]:
    """Say which numbers no fault can have."""
    errors: dict[str, str] = {}
    if not 100 <= given.get("status", 500) <= 599:
        errors["status"] = "Must be an HTTP status."
    if given.get("times", 1) < -1:
        errors["times"] = "Must be -1 (for ever), 0 (once) or a number of times."
    if given.get("after", 0) < 0:
        errors["after"] = "Must not be negative."
    if not 0 <= given.get("seconds", 0) <= 3600:
        errors["seconds"] = "Must be between 0 and 3600."
    return errors
