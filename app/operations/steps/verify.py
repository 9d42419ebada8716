"""The last step: sees the container run, and opens the address as a visitor without credentials."""

from collections.abc import Sequence
from typing import Any

from app.deployments.events import Progressed, Warned
from app.deployments.states import Status
from app.dokploy import Task
from app.engine.clock import Patience
from app.engine.saga import Outcome
from app.errors import PortalError
from app.observation.probe import NOBODY, ProbeResult
from app.observation.tracker import Pace
from app.operations.steps.base import CreateStep

# Docker starts a container again after five seconds; one that stopped this often will not stay up.
_CRASHES = 3
# A stranger let in once may be a container half started; twice it is open.
_OPEN_ANSWERS = 2
_GATEWAY = frozenset({502, 503, 504})


class Verify(CreateStep):
    """Succeeds when the newest task runs and the address turns a stranger away. Never sends the password."""

    name = "verify"
    needs = ("deploy",)
    status = Status.FINALIZE
    undoable = False

    async def work(self) -> Outcome:
        """Look until all is well or the time is over; what the address showed last is recorded either way."""
        self._seen: dict[str, Any] = {}
        try:
            return await self._look()
        except PortalError:
            if self._seen:
                await self.context.note(self.name, {"seen": self._seen})
            raise

    async def _look(self) -> Outcome:
        """Look at the tasks, then at the address."""
        self._crashed: set[str] = set()
        self._told: set[str] = set()
        self._open_answers = 0
        pace = Pace()
        patience = Patience(self.context.clock, self.context.settings.verify_timeout_seconds)
        missing = PortalError("container_missing")
        while True:
            tasks = await self.dokploy.list_tasks(self.context.output("application", "app_name"))
            problem = self._problem_of_tasks(tasks, missing)
            if problem is None:
                await self._tell("container_answering")
                problem = await self._probe()
                if problem is None:
                    await self._remove_doubles()
                    return Outcome(output={"seen": self._seen})
            elif problem.code != "container_missing":
                await self._tell("container_starting")
            if patience.is_over:
                raise problem
            # A new stack is asked every 2 s at most (DP-4), sooner in its first seconds.
            await self.context.clock.pause(max(0.1, min(pace.age * 0.15, 2.0)))

    async def _remove_doubles(self) -> None:
        """Remove what creates that landed later than any deadline have made beside what counts."""
        if self.context.doubts.may_have_doubled("project"):
            await self.cleanup.remove_double_projects(self.context.resource("project").dokploy_id or "")
        if self.context.doubts.may_have_doubled("application"):
            await self.cleanup.remove_double_applications(self.application_id)

    def _problem_of_tasks(self, tasks: Sequence[Task], missing: PortalError) -> PortalError | None:
        """Return what keeps the newest task from running; raise once it is sure that it never will."""
        if not tasks:
            return missing
        self._crashed |= {task.container_id for task in tasks if task.failed}
        reason = next((task.error for task in tasks if task.failed), "")
        crashes = PortalError("container_crashes", count=len(self._crashed), log=self.context.mask(reason, 500))
        if len(self._crashed) >= _CRASHES:
            raise crashes
        if tasks[0].doing == "running" and tasks[0].state == "running":
            return None
        if self._crashed:
            return crashes
        return PortalError(
            "container_not_ready",
            seconds=self.context.settings.verify_timeout_seconds,
            log=self.context.mask(f"{tasks[0].current_state} {tasks[0].error}", 500),
        )

    async def _probe(self) -> PortalError | None:
        """Ask the paths in turn; None when a stranger is turned away as he should be."""
        problem: PortalError | None = None
        for path in self.plan.probe_paths:
            answer = await self.context.deps.prober.probe(self.plan.url + path)
            if answer.tls_trouble:
                await self._warn("tls_not_ready")
            self._seen = {"probe_path": path, "status": answer.status, "tls_trouble": answer.tls_trouble}
            if answer.status in self.plan.alive:
                return None
            found = self._problem_of_answer(answer)
            if found.code == "open_to_strangers":
                return self._is_open(found)
            problem = problem or found
        self._open_answers = 0
        return problem

    def _is_open(self, problem: PortalError) -> PortalError:
        self._open_answers += 1
        if self._open_answers >= _OPEN_ANSWERS:
            raise problem
        return problem

    def _problem_of_answer(self, answer: ProbeResult) -> PortalError:
        host = self.plan.host
        if answer.status is None:
            return PortalError(answer.code or "address_refused", host=host)
        if answer.status == NOBODY:
            return PortalError("route_missing", host=host)
        if answer.status in _GATEWAY:
            return PortalError("bad_gateway", host=host, status=answer.status, port=str(self.plan.port))
        if 200 <= answer.status < 300:
            return PortalError("open_to_strangers", host=host, variable=self.plan.password_variable)
        return PortalError("unexpected_answer", host=host, status=answer.status)

    async def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            await self.context.tell(Progressed(step=self.name, what=what))

    async def _warn(self, code: str) -> None:
        if code not in self._told:
            self._told.add(code)
            await self.context.tell(Warned(code=code))
