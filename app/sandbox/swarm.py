"""The emulated Docker swarm behind Dokploy: services, tasks that change as time passes, containers and volumes."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from app.sandbox.rows import Row, base36

# What Docker remembers of tasks that are over.
_TASK_HISTORY = 5
_NODE = "sandbox"


class Fate(StrEnum):
    """What becomes of a container once Docker has accepted its service."""

    RUN = "run"
    CRASH = "crash"
    NEVER_READY = "never_ready"
    REJECTED = "rejected"
    PENDING = "pending"


# Fates in which nothing more happens: neither success nor failure.
_WAITING = frozenset({Fate.NEVER_READY, Fate.PENDING})


@dataclass(frozen=True)
class Spec:
    """What a service is made from: the application's settings at the moment the deployment began."""

    app_name: str
    title: str
    image: str
    env: dict[str, str]
    mounts: tuple[Row, ...]
    replicas: int = 1
    fate: Fate = Fate.RUN
    error: str = ""
    open: bool = False
    """Answers strangers even with a password set."""

    @property
    def volumes(self) -> tuple[str, ...]:
        """Name the volumes it mounts."""
        return tuple(mount["volumeName"] for mount in self.mounts if mount["type"] == "volume" and mount["volumeName"])


@dataclass
class Task:
    """One attempt to run one container of a service."""

    spec: Spec
    slot: int
    begins: float
    """When the container is started; before that the task only waits in `Ready`."""
    runs: float
    """When it runs, or fails."""
    desired: str = "running"
    ended: float | None = None
    ended_as: str = ""
    error: str = ""
    task_id: str = field(default_factory=lambda: base36(25))
    container_id: str = field(default_factory=lambda: secrets.token_hex(32))

    def state(self, now: float) -> tuple[str, float]:
        """Tell what Docker says of the task, and since when."""
        if self.ended is not None:
            return self.ended_as, self.ended
        if self.spec.fate is Fate.PENDING:
            return "Pending", self.begins
        if now < self.begins:
            return "Ready", self.begins
        if self.spec.fate is Fate.RUN and now >= self.runs:
            return "Running", self.runs
        if now < self.begins + (self.runs - self.begins) / 3 and self.spec.fate is not Fate.NEVER_READY:
            return "Preparing", self.begins
        return "Starting", self.begins

    def runs_at(self, now: float) -> bool:
        """Say whether the container serves."""
        return self.ended is None and self.spec.fate is Fate.RUN and now >= self.runs


@dataclass
class Service:
    """A swarm service; tasks are newest first."""

    spec: Spec
    tasks: list[Task]


@dataclass
class _Holder:
    container_id: str
    until: float | None = None


class Swarm:
    """All services and volumes of the server."""

    def __init__(self, start_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.services: dict[str, Service] = {}
        self.volumes: dict[str, str] = {}
        """Name -> mount point."""
        self.volume_ids: dict[str, str] = {}
        """Name -> what tells a volume from an earlier one of that name, and so its files."""
        self._holders: dict[str, dict[str, _Holder]] = {}
        self._leaving: dict[str, tuple[list[Task], float]] = {}
        self._start_seconds = start_seconds
        self._clock = clock

    # What Dokploy does to it

    def apply(self, spec: Spec) -> None:
        """Create a service or update it; an update starts the new container before it stops the old one."""
        service = self.services.get(spec.app_name)
        if service is None:
            service = self.services[spec.app_name] = Service(spec, [])
        else:
            self.settle(service)
            self._release(spec.app_name, service.spec)
            for task in service.tasks:
                if task.ended is None and not task.runs_at(self._clock()):
                    self._end(task, "Shutdown")
            service.spec = spec
        self._begin(service, spec.replicas)
        if spec.replicas == 0:
            self._stop(service)

    def scale(self, app_name: str, replicas: int) -> bool:
        """Scale a service; False when there is none."""
        service = self.services.get(app_name)
        if service is None:
            return False
        self.settle(service)
        if replicas == 0:
            self._stop(service)
            self._release(app_name, service.spec)
        elif not any(task.ended is None for task in service.tasks):
            self._begin(service, replicas)
        return True

    def remove(self, app_name: str, release_seconds: float) -> None:
        """Remove a service; its containers, and so its volumes, are let go of in the background."""
        service = self.services.pop(app_name, None)
        if service is None:
            return
        self.settle(service)
        until = self._clock() + release_seconds
        self._leaving[app_name] = ([task for task in service.tasks if task.ended is None], until)
        for name in service.spec.volumes:
            holder = self._holders.get(name, {}).get(app_name)
            if holder is not None:
                holder.until = until

    def remove_volume(self, name: str) -> str | None:
        """Remove a volume, or tell what Docker has against it."""
        if name not in self.volumes:
            return f"get {name}: no such volume"
        holder = self.holder_of(name)
        if holder is not None:
            return f"remove {name}: volume is in use - [{holder}]"
        del self.volumes[name]
        return None

    def holder_of(self, volume: str) -> str | None:
        """Name the container that keeps a volume in use."""
        holders, now = self._holders.get(volume, {}), self._clock()
        for app_name, holder in list(holders.items()):
            if holder.until is not None and now >= holder.until:
                del holders[app_name]
        return next((holder.container_id for holder in holders.values()), None)

    # What it shows

    def answering(self, app_name: str) -> Spec | None:
        """Tell which version of a service answers requests now: the newest that runs."""
        service, now = self.services.get(app_name), self._clock()
        if service is None:
            return None
        self.settle(service)
        return next((task.spec for task in service.tasks if task.runs_at(now)), None)

    def running(self, app_name: str) -> bool:
        """Say whether a container of the service runs."""
        return self.answering(app_name) is not None

    def task_rows(self, app_name: str) -> list[Row]:
        """List a service's tasks, newest first; empty for a service that does not exist."""
        service, now = self.services.get(app_name), self._clock()
        if service is None:
            return []
        self.settle(service)
        rows = []
        for task in service.tasks:
            state, since = task.state(now)
            rows.append(
                {
                    "containerId": task.task_id,
                    "name": f"{app_name}.{task.slot}",
                    "state": "ready" if state == "Ready" else task.desired,
                    "currentState": f"{state} {_ago(now - since)}",
                    "node": "" if state == "Pending" else _NODE,
                    "error": task.error or (task.spec.error if state == "Pending" else ""),
                }
            )
        if rows and rows[-1]["error"] == "":
            rows[-1]["error"] = "Error:"  # The last line of Docker's table is read with its heading glued on.
        return rows

    def container_rows(self, name_part: str | None = None) -> list[Row]:
        """List containers whose name has a part, those on their way out included."""
        now = self._clock()
        for app_name in [name for name, (_, until) in self._leaving.items() if now >= until]:
            del self._leaving[app_name]
        rows: list[Row] = []
        for app_name, service in self.services.items():
            if name_part is None or name_part in app_name:
                self.settle(service)
                rows += [row for task in service.tasks if (row := _container(task, now)) is not None]
        for app_name, (tasks, _) in self._leaving.items():
            if name_part is None or name_part in app_name:
                rows += [row for task in tasks if (row := _container(task, now)) is not None]
        return rows

    # How time passes

    def settle(self, service: Service) -> None:
        """Bring a service's tasks up to now: new ones replace old ones, crashed ones are tried again."""
        now = self._clock()
        for slot in {task.slot for task in service.tasks}:
            self._settle_slot(service, slot, now)

    def _settle_slot(self, service: Service, slot: int, now: float) -> None:
        while True:
            newest = next(task for task in service.tasks if task.slot == slot)
            older = [task for task in service.tasks if task.slot == slot and task is not newest]
            if newest.ended is not None or now < newest.runs or newest.spec.fate in _WAITING:
                return
            if newest.spec.fate is Fate.RUN:
                for task in older:
                    if task.ended is None:
                        self._end(task, "Shutdown", newest.runs)
                return
            failed_as = "Rejected" if newest.spec.fate is Fate.REJECTED else "Failed"
            self._end(newest, failed_as, newest.runs, newest.spec.error)
            previous_runs = any(task.ended is None for task in older)
            again = self._task(newest.spec, slot, newest.runs, wait=1.0)
            if previous_runs:
                # Docker pauses an update that fails: the old container stays, and nothing is tried again.
                self._end(again, "Shutdown", newest.runs)
            elif now - again.runs > _TASK_HISTORY * (again.runs - newest.runs):
                # Nobody looked for a long time: only the last attempts would be remembered anyway.
                skip = now - _TASK_HISTORY * (again.runs - newest.runs) - again.runs
                again.begins, again.runs = again.begins + skip, again.runs + skip
            service.tasks.insert(0, again)
            kept = [task for task in service.tasks if task.slot == slot][:_TASK_HISTORY]
            service.tasks = [t for t in service.tasks if t.slot != slot or t in kept or t.ended is None]

    def _begin(self, service: Service, replicas: int) -> None:
        spec = service.spec
        for slot in range(max(replicas, 0), 0, -1):
            service.tasks.insert(0, self._task(spec, slot, self._clock()))
        service.tasks = [t for n, t in enumerate(service.tasks) if n < _TASK_HISTORY * max(replicas, 1) or not t.ended]
        for name in spec.volumes:
            if name not in self.volumes:
                self.volumes[name] = f"/var/lib/docker/volumes/{name}/_data"
                self.volume_ids[name] = secrets.token_hex(8)
            if service.tasks:
                self._holders.setdefault(name, {})[spec.app_name] = _Holder(service.tasks[0].container_id)

    def _task(self, spec: Spec, slot: int, now: float, wait: float = 0.0) -> Task:
        return Task(spec, slot, begins=now + wait, runs=now + wait + self._start_seconds)

    def _stop(self, service: Service) -> None:
        for task in service.tasks:
            if task.ended is None:
                self._end(task, "Shutdown")
        service.tasks = []

    def _end(self, task: Task, state: str, at: float | None = None, error: str = "") -> None:
        task.ended, task.ended_as = self._clock() if at is None else at, state
        task.desired, task.error = "shutdown", error

    def _release(self, app_name: str, spec: Spec) -> None:
        for name in spec.volumes:
            self._holders.get(name, {}).pop(app_name, None)


def _container(task: Task, now: float) -> Row | None:
    state, since = task.state(now)
    if state in {"Preparing", "Rejected", "Pending"}:
        return None
    shown = {"Running": "running", "Shutdown": "exited"}.get(state, "created")
    status = {"running": f"Up {_for(now - since)}", "exited": f"Exited (0) {_ago(now - since)}"}.get(shown, "Created")
    if task.spec.fate is Fate.NEVER_READY and state == "Starting":
        shown, status = "running", f"Up {_for(now - since)} (unhealthy)"
    name = f"{task.spec.app_name}.{task.slot}.{task.task_id}"
    return {"containerId": task.container_id[:12], "name": name, "state": shown, "status": status}


def _for(seconds: float) -> str:
    whole = int(max(seconds, 0))
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return f"{whole} second{'s' if whole > 1 else ''}"
    return "About a minute" if whole < 120 else f"{whole // 60} minutes"


def _ago(seconds: float) -> str:
    words = _for(seconds)
    return ("less than a second" if words.startswith("Less") else words) + " ago"
