"""One emulated server: its database, its Docker, its queue and the faults that wait for calls."""

import asyncio
import secrets
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from app.sandbox.faults import RATE_LIMIT, Fault, Faults
from app.sandbox.rows import Row
from app.sandbox.settings import SandboxSettings
from app.sandbox.state import State
from app.sandbox.swarm import Swarm
from app.sandbox.worker import Worker

VERSION = "v0.30.2"
OTHER_VERSION = "v0.31.0"
_OTHER_VERSION = frozenset({"other_version"})


@dataclass(eq=False)
class _Held:
    call: str
    match: str
    """That of the fault."""
    goes_on: asyncio.Future[bool]


class Server:
    """Everything the emulator remembers."""

    def __init__(self, settings: SandboxSettings, call_names: frozenset[str]) -> None:
        self.settings = settings
        self.faults = Faults(call_names)
        self.calls: Counter[str] = Counter()
        self.refused = 0
        """Calls that a limit of the key has refused."""
        self._limits: dict[str, Row] = {}
        self.down_until = 0.0
        self.late: set[asyncio.Task[None]] = set()
        """Effects that are still to land after their connection was closed."""
        self._held: list[_Held] = []
        self._token = settings.API_TOKEN.get_secret_value()
        self._fresh()

    def _fresh(self) -> None:
        self.state = State()
        self.swarm = Swarm(self.settings.START_SECONDS)
        self.worker = Worker(self.state, self.swarm, self.settings)

    @property
    def version(self) -> str:
        """The version that it says it is."""
        return OTHER_VERSION if self.faults.waiting(_OTHER_VERSION) else VERSION

    def reset(self) -> None:
        """Begin anew: no rows, no services, no volumes, no faults, no counts."""
        self.worker.close()
        for task in self.late:
            task.cancel()
        self._end_holding(goes_on=False)
        self.faults.clear()
        self.calls.clear()
        self.refused = 0
        self._limits.clear()
        self.down_until = 0.0
        self._fresh()

    async def hold(self, call: str, fault: Fault) -> bool:
        """Wait until what the fault holds is released: True; or until the server begins anew: False."""
        held = _Held(call, fault.match, asyncio.get_running_loop().create_future())
        self._held.append(held)
        try:
            return await held.goes_on
        finally:
            self._held.remove(held)

    def release(self, match: str | None = None) -> int:
        """Let calls that are held and deployments that are stuck go on, and say how many there were.

        `match`: only those that a fault with this very `match` keeps.
        """
        return self._end_holding(match, goes_on=True) + self.worker.release(match)

    def _end_holding(self, match: str | None = None, *, goes_on: bool) -> int:
        ended = [each for each in self._held if match in {None, each.match} and not each.goes_on.done()]
        for each in ended:
            each.goes_on.set_result(goes_on)
        return len(ended)

    def restart(self, seconds: float) -> None:
        """Restart Dokploy: the queue is lost and its connections are refused for a while; Docker and Traefik stay."""
        self.worker.restart()
        self.down_until = time.monotonic() + seconds

    def is_down(self) -> bool:
        """Say whether Dokploy is still coming up."""
        return time.monotonic() < self.down_until

    def admits(self, key: str) -> bool:
        """Check a key, and count it where the key has a limit."""
        if secrets.compare_digest(key.encode(), self._token.encode()):
            limits = [self._limit(fault) for fault in self.faults.waiting(RATE_LIMIT)]
        elif key in self.state.api_keys:
            limits = [self.state.api_keys[key]]
        else:
            return False
        admitted = all(_within_limit(limit) for limit in limits)
        self.refused += not admitted
        return admitted

    def _limit(self, fault: Fault) -> Row:
        """Tell the limit that a fault gives our key, in the shape of a key of its own."""
        fresh = {"rateLimitEnabled": True, "rateLimitMax": fault.times, "requestCount": 0, "lastRequest": None}
        return self._limits.setdefault(fault.id, {**fresh, "rateLimitTimeWindow": (fault.seconds or 0) * 1000})

    def snapshot(self) -> dict[str, Any]:
        """Tell everything, for the control face."""
        state = self.state
        return {
            "version": self.version,
            "projects": list(state.projects.values()),
            "environments": list(state.environments.values()),
            "applications": list(state.applications.values()),
            "domains": list(state.domains.values()),
            "mounts": list(state.mounts.values()),
            "deployments": list(state.deployments.values()),
            "volumes": [
                {"name": name, "id": self.swarm.volume_ids[name], "inUseBy": self.swarm.holder_of(name)}
                for name in self.swarm.volumes
            ],
            "services": [
                {
                    "name": name,
                    "title": service.spec.title,
                    "image": service.spec.image,
                    "env": service.spec.env,
                    "volumes": list(service.spec.volumes),
                    "replicas": service.spec.replicas,
                    "tasks": self.swarm.task_rows(name),
                }
                for name, service in self.swarm.services.items()
            ],
            "routes": [
                {"host": domain["host"], "path": domain["path"], "appName": app_name}
                for app_name, written in state.traefik.items()
                for domain in written.values()
            ],
            "queue": self.worker.rows(),
            "late": len(self.late),
            "held": [*({"call": each.call, "match": each.match} for each in self._held), *self.worker.held()],
            "faults": self.faults.rows(),
            "calls": dict(self.calls),
            "refused": self.refused,
        }


def _within_limit(key: Row) -> bool:
    if not key["rateLimitEnabled"]:
        return True
    now = time.time() * 1000
    # The counter starts anew only when the whole window lies behind the last accepted request.
    if key["lastRequest"] is None or now - key["lastRequest"] > key["rateLimitTimeWindow"]:
        key["requestCount"] = 0
    # Dokploy verifies the key twice for every call.
    if key["requestCount"] + 2 > key["rateLimitMax"]:
        return False
    key["requestCount"] += 2
    key["lastRequest"] = now
    return True
