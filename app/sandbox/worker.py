"""Dokploy's queue: jobs in memory, worked on first come first served, each making one Dokploy deployment."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.sandbox import dotenv
from app.sandbox.faults import Fault
from app.sandbox.rows import Row, timestamp
from app.sandbox.settings import SandboxSettings
from app.sandbox.state import State
from app.sandbox.swarm import Fate, Spec, Swarm

_LAST_LINE = "Error occurred ❌, check the logs for details.\n"
_MINIMUM_MEMORY = 4 * 1024 * 1024
# More than the one emulated node has.
_NODE_MEMORY = 1 << 40
_QUICK_SECONDS = 0.02
_FAILED_PULL_SECONDS = 0.3
_REDEPLOY_SECONDS = 0.2
_KEPT_ASKED = 10_000


@dataclass
class Asked:
    """A deployment as it was asked for, and what became of it, also once nothing else here knows of it."""

    application_id: str
    title: str
    """As it was given, also where the server drops it."""
    timestamp: int = field(default_factory=lambda: int(time.time() * 1000))
    deployment: Row | None = None
    """Its row, once it was begun: the very one that the worker writes, also after it is on record no more."""

    def row(self) -> Row:
        """Tell it as the control face does."""
        shown = ("deploymentId", "status", "createdAt", "finishedAt")
        became = {name: self.deployment[name] if self.deployment else None for name in shown}
        return {"applicationId": self.application_id, "title": self.title, "timestamp": self.timestamp, **became}


@dataclass
class Job:
    """One entry of the queue."""

    number: int
    application_id: str
    title: str
    description: str
    kind: str
    """`deploy` or `redeploy`."""
    faults: Mapping[str, Fault]
    asked: Asked
    timestamp: int = field(default_factory=lambda: int(time.time() * 1000))
    processed_on: int | None = None

    def row(self, state: State) -> Row:
        """Tell it as deployment.queueList does."""
        application = state.applications.get(self.application_id)
        path: Row = {"href": None, "label": "—"}
        if application is not None:
            environment = state.environments[application["environmentId"]]
            href = (
                f"/dashboard/project/{environment['projectId']}/environment/{environment['environmentId']}"
                f"/services/application/{self.application_id}"
            )
            path = {"href": href, "label": "Application"}
        processed = {} if self.processed_on is None else {"processedOn": self.processed_on}
        return {
            "id": f"job-{self.number}",
            "name": "deployments",
            "data": {
                "applicationId": self.application_id,
                "titleLog": self.title,
                "descriptionLog": self.description,
                "type": self.kind,
                "applicationType": "application",
                "server": False,
            },
            "timestamp": self.timestamp,
            **processed,
            "state": "waiting" if self.processed_on is None else "active",
            "servicePath": path,
        }


@dataclass(frozen=True)
class _Outcome:
    seconds: float
    status: str
    log: str
    spec: Spec | None = None


@dataclass
class _Work:
    job: Job
    application: Row
    deployment: Row
    outcome: _Outcome
    timer: asyncio.TimerHandle | None = None


class Worker:
    """The one worker of the server; timers, not tasks, so that hundreds of deployments cost next to nothing."""

    def __init__(self, state: State, swarm: Swarm, settings: SandboxSettings) -> None:
        self._state = state
        self._swarm = swarm
        self._settings = settings
        self._waiting: deque[Job] = deque()
        self._active: dict[int, _Work] = {}
        self._number = 0
        self._asked: deque[Asked] = deque(maxlen=_KEPT_ASKED)

    def enqueue(
        self, application_id: str, kind: str, title: str, description: str, faults: Mapping[str, Fault]
    ) -> None:
        """Take a job; nothing of it can be seen but its place in the queue."""
        asked = Asked(application_id, title)
        self._asked.append(asked)
        if "lose_queue" in faults:
            return
        if "drop_title" in faults or "drop_both" in faults:
            title = default_title(kind)
        if "drop_both" in faults:
            description = ""
        self._number += 1
        self._waiting.append(Job(self._number, application_id, title, description, kind, faults, asked))
        # Not at once: the call that asked for it is answered first, as on the real server.
        asyncio.get_running_loop().call_soon(self._pump)

    def clean(self, application_id: str) -> None:
        """Forget an application's waiting jobs."""
        self._waiting = deque(job for job in self._waiting if job.application_id != application_id)

    def rows(self) -> list[Row]:
        """List the queue, newest first, what is worked on last."""
        jobs = [*self._waiting_newest_first(), *(work.job for work in reversed(self._active.values()))]
        return [job.row(self._state) for job in jobs]

    def asked(self) -> list[Row]:
        """List the deployments that were asked for, oldest first, with what became of each."""
        return [each.row() for each in self._asked]

    def held(self) -> list[Row]:
        """List the deployments that would be `running` for ever, each by the call that asked for it."""
        return [{"call": f"application.{job.kind}", "match": job.faults["stuck"].match} for job in self._stuck()]

    def release(self, match: str | None = None) -> int:
        """End deployments that would be `running` for ever as they were to end, and say how many there were."""
        released = [job.number for job in self._stuck() if match in {None, job.faults["stuck"].match}]
        for number in released:
            self._finish(self._active[number])
        return len(released)

    def _stuck(self) -> list[Job]:
        return [work.job for work in self._active.values() if work.timer is None]

    def restart(self) -> None:
        """Lose the queue as a restart of Dokploy does: the active rows are cancelled, the waiting jobs are gone."""
        for work in self._active.values():
            if work.deployment["status"] != "done":
                work.deployment["status"] = "cancelled"
                work.application["applicationStatus"] = "idle"
        self.close()
        self._number = 0

    def close(self) -> None:
        """Stop all timers and forget all jobs."""
        for work in self._active.values():
            if work.timer is not None:
                work.timer.cancel()
        self._active.clear()
        self._waiting.clear()

    def _waiting_newest_first(self) -> list[Job]:
        return list(reversed(self._waiting))

    def _pump(self) -> None:
        limit = self._settings.CONCURRENCY
        while self._waiting and (limit == 0 or len(self._active) < limit):
            job = self._waiting.popleft()
            application = self._state.applications.get(job.application_id)
            if application is not None:
                self._begin(job, application)

    def _begin(self, job: Job, application: Row) -> None:
        job.processed_on = int(time.time() * 1000)
        application["applicationStatus"] = "running"
        deployment = self._state.begin_deployment(application, job.title, job.description)
        job.asked.deployment = deployment
        if "unknown_status" in job.faults:
            deployment["status"] = "paused"
        if job.kind == "deploy" and application["sourceType"] == "docker" and application["dockerImage"]:
            self._state.logs[deployment["logPath"]] += f"Pulling {application['dockerImage']}\n"
        work = _Work(job, application, deployment, self._outcome(job, application))
        self._active[job.number] = work
        seconds = work.outcome.seconds
        stay = job.faults.get("stuck") or job.faults.get("unknown_status")
        if stay is not None:
            if stay.seconds is None and stay.kind == "stuck":
                return
            seconds = seconds if stay.seconds is None else stay.seconds
        work.timer = asyncio.get_running_loop().call_later(seconds, self._finish, work)

    def _finish(self, work: _Work) -> None:
        self._active.pop(work.job.number, None)
        unknown = work.job.faults.get("unknown_status")
        if unknown is None or unknown.seconds is not None:
            if work.deployment["logPath"] in self._state.logs:
                self._state.logs[work.deployment["logPath"]] += work.outcome.log
            work.deployment["status"] = work.application["applicationStatus"] = work.outcome.status
            work.deployment["finishedAt"] = timestamp()
            if work.outcome.spec is not None:
                # Also when the application was deleted meanwhile: Dokploy goes on and leaves an orphan.
                self._swarm.apply(work.outcome.spec)
        self._pump()

    def _outcome(self, job: Job, application: Row) -> _Outcome:
        """Decide at its begin how a deployment will end; later changes of the settings do not reach it."""
        seconds, image = self._settings.DEPLOY_SECONDS, application["dockerImage"]
        if application["sourceType"] != "docker":
            return _failed(min(seconds, _QUICK_SECONDS), "Github Provider not found\n")
        if not image:
            return _failed(min(seconds, _QUICK_SECONDS), "Docker image not found\n")
        log = ""
        if job.kind == "deploy":
            complaint = _pull_complaint(image)
            if complaint:
                return _failed(min(seconds, _FAILED_PULL_SECONDS), f"{complaint}\n❌ Pulling image failed\n\n")
            log = _pulled(image, logged_in=bool(application["username"] and application["password"]))
        else:
            seconds = min(seconds, _REDEPLOY_SECONDS)
        if "fail" in job.faults:
            return _failed(seconds, log + "(HTTP code 500) server error - a fault of the sandbox \n")
        try:
            spec = spec_of(self._state, application, job.faults)
        except ValueError as complaint_error:
            return _failed(seconds, f"{log}{complaint_error}\n")
        return _Outcome(seconds, "done", log, spec)


def default_title(kind: str) -> str:
    """Tell the title of a deployment that was given none."""
    return "Manual deployment" if kind == "deploy" else "Rebuild deployment"


def spec_of(state: State, application: Row, faults: Mapping[str, Fault]) -> Spec:
    """Make the service that Dokploy would ask of Docker; raises ValueError with the words of a refusal."""
    environment = state.environments[application["environmentId"]]
    project = state.projects[environment["projectId"]]
    env = dotenv.resolve(application["env"], project["env"], environment["env"])
    mounts = tuple(dict(mount) for mount in state.mounts_of(application["applicationId"]))
    _check(application, mounts)
    fate, error = _fate(application, env, faults)
    return Spec(
        app_name=application["appName"],
        title=application["name"],
        image=application["dockerImage"] or "",
        env=env,
        mounts=mounts,
        replicas=application["replicas"],
        fate=fate,
        error=error,
        open="open" in faults,
    )


def _check(application: Row, mounts: tuple[Row, ...]) -> None:
    refused = "(HTTP code 400) unexpected - "
    for column in ("memoryLimit", "memoryReservation"):
        # A text that begins with digits is read as far as they go; one that does not sets no limit at all.
        digits = _leading_digits(application[column] or "")
        if digits and int(digits) < _MINIMUM_MEMORY:
            raise ValueError(
                f"{refused}rpc error: code = InvalidArgument desc = "
                f"invalid memory value {int(digits)}: Must be at least 4MiB "
            )
    if application["replicas"] < 0:
        raise ValueError(
            f"{refused}json: cannot unmarshal number {application['replicas']} "
            "into Go struct field ReplicatedService.Mode.Replicated.Replicas of type uint64 "
        )
    paths: set[str] = set()
    for mount in mounts:
        if mount["mountPath"] in paths:
            raise ValueError(
                f"{refused}rpc error: code = InvalidArgument desc = "
                f"ContainerSpec: duplicate mount point: {mount['mountPath']} "
            )
        paths.add(mount["mountPath"])


def _fate(application: Row, env: Mapping[str, str], faults: Mapping[str, Fault]) -> tuple[Fate, str]:
    command = (application["command"] or "").split(" ")[0]
    if command.startswith("/no/such"):
        return Fate.CRASH, (
            '"starting container failed: failed to create shim task: OCI runtime create failed: runc create failed: '
            f'unable to start container process: exec: "{command}": stat {command}: '
            'no such file or directory: unknown"'
        )
    if "crash" in faults or env.get("SANDBOX_CRASH") == "1":
        return Fate.CRASH, '"task: non-zero exit (3)"'
    if not application["dockerImage"] or _pull_complaint(application["dockerImage"]):
        return Fate.REJECTED, f'"No such image: {application["dockerImage"] or application["appName"]}"'
    if int(_leading_digits(application["memoryReservation"] or "") or 0) > _NODE_MEMORY:
        return Fate.PENDING, '"no suitable node (insufficient resources on 1 node)"'
    return (Fate.NEVER_READY if "never_ready" in faults else Fate.RUN), ""


def _pull_complaint(image: str) -> str | None:
    repository = image.rpartition(":")[0] or image
    if image != image.lower() and repository != repository.lower():
        return f"invalid reference format: repository name ({repository.partition('/')[2]}) must be lowercase"
    if " " in image:
        return "invalid reference format"
    if "unreachable" in image:
        server = image.partition("/")[0]
        return f'Error response from daemon: Get "https://{server}/v2/": dial tcp: connect: connection refused'
    if "missing" in image:
        return f"Error response from daemon: manifest for {image} not found: manifest unknown: manifest unknown"
    return None


def _pulled(image: str, *, logged_in: bool) -> str:
    repository, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
    login = "\nLogin Succeeded\n" if logged_in else ""
    return (
        f"{login}{tag}: Pulling from {repository}\nDigest: sha256:{'0' * 64}\n"
        f"Status: Image is up to date for {image}\n{image}\n✅ Pulling image completed.\n"
    )


def _failed(seconds: float, log: str) -> _Outcome:
    return _Outcome(seconds, "error", log + _LAST_LINE)


def _leading_digits(text: str) -> str:
    return text[: len(text) - len(text.lstrip("0123456789"))]
