"""Claims deployments and runs them: many at once, taken up after an interruption, handed over at the end."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from app.database import FileLock, StoreAway
from app.deployments.context import RunContext, Surroundings
from app.deployments.deploying import Deploy
from app.deployments.events import (
    CancelRequested,
    Conclusion,
    DeploymentCompleted,
    DeploymentResumed,
    DeploymentStarted,
    Event,
    Kind,
    Warned,
)
from app.deployments.journal import CanceledMeanwhile
from app.deployments.plan import Plan
from app.deployments.removing import REMOVAL
from app.deployments.run import Left, Run
from app.deployments.saga import Checkpoint, Ending, ResourceState, RunLost, Saga, Step
from app.deployments.steps import Configure, CreateStep, MakeApplication, Project, Route, Validate
from app.deployments.template import StackSecrets
from app.deployments.verifying import Verify
from app.errors import PortalError
from app.vault import Vault

log = structlog.get_logger()

CREATION: tuple[type[CreateStep], ...] = (Validate, Project, MakeApplication, Configure, Route, Deploy, Verify)

# A burst of requests is over when none came for so long, or has lasted long enough to begin all the same.
_QUIET_SECONDS = 0.02
_BURST_SECONDS = 0.5
# How long runs may take to come to a place where they can be handed over.
_STOP_SECONDS = 1.0
# A process that was told of nothing still looks now and then: a notification can be lost.
_LOOK_SECONDS = 1.0


class Runner:
    """Runs deployments in this process. It owns their tasks; requests and streams only look on."""

    def __init__(self, around: Surroundings, vault: Vault, lock: FileLock | None) -> None:
        """`lock`: taken before anything is run, where the store is one SQLite file; None on PostgreSQL."""
        self._around = around
        self._vault = vault
        self._lock = lock
        self._worker: str | None = None
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._woken = asyncio.Event()
        self._look_for_cancellations = False
        self._queued_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def running(self) -> int:
        """How many deployments run here now."""
        return len(self._runs)

    @property
    def is_active(self) -> bool:
        """Whether this process runs deployments, or waits for the one that does."""
        return self._worker is not None

    def start(self) -> None:
        """Begin to claim."""
        self._tasks = [asyncio.create_task(self._claim_forever(), name="claim")]

    def wake(self, reason: str) -> None:
        """Look now: something was `queued`, or somebody asked to `cancel`."""
        if reason == "cancel":
            self._look_for_cancellations = True
        else:
            self._queued_at = time.monotonic()
        self._woken.set()

    async def stop(self) -> None:
        """Stop within seconds: runs come to a place where a peer, or the next start, goes on with them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run, _ in self._runs.values():
            run.stopping.set()
        tasks = [task for _, task in self._runs.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._worker is not None:
            with suppress(StoreAway):
                await self._around.journal.leave(self._worker)
        if self._lock is not None:
            self._lock.release()

    async def _claim_forever(self) -> None:
        while True:
            try:
                await self._become_active()
                renewal = asyncio.create_task(self._renew(), name="renew")
                try:
                    await self._claim_while_active()
                finally:
                    renewal.cancel()
                    await asyncio.gather(renewal, return_exceptions=True)
            except StoreAway as error:
                log.warning("store_away", reason=str(error))
                await asyncio.sleep(0.5)

    async def _become_active(self) -> None:
        if self._worker is not None:
            return
        if self._lock is not None:
            while not self._lock.acquire():  # noqa: ASYNC110 - another process holds it, and no event tells
                await asyncio.sleep(0.2)
        seconds = self._around.settings.runner_lease_seconds
        self._worker = await self._around.journal.register(seconds, alone=self._lock is not None)
        log.info("runner_active", worker=self._worker)

    async def _claim_while_active(self) -> None:
        while self._worker is not None:
            self._woken.clear()
            if self._look_for_cancellations:
                self._look_for_cancellations = False
                await self._see_cancellations(self._worker)
            await self._let_requests_in()
            free = self._free()
            claimed = await self._around.journal.claim(self._worker, free) if free > 0 else []
            for run in claimed:
                run.status_changed = self._woken.set
                task = asyncio.create_task(self._execute(run), name=f"deployment {run.id}")
                self._runs[run.id] = (run, task)
            if claimed:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._woken.wait()

    def _free(self) -> int:
        """How many more deployments to take.

        No more prepare at once than calls to Dokploy may be under way: more would only wait for each other, and all
        of them would end late together. Those that wait for Dokploy's part do not count.
        """
        settings = self._around.settings
        preparing = sum(run.is_preparing for run, _ in self._runs.values())
        return min(settings.runner_concurrency - len(self._runs), settings.dokploy_max_concurrency - preparing)

    async def _let_requests_in(self) -> None:
        """Wait for the end of a burst of requests: to be taken in is what a person waits for, so it goes first."""
        begun = time.monotonic()
        while (now := time.monotonic()) - self._queued_at < _QUIET_SECONDS and now - begun < _BURST_SECONDS:  # noqa: ASYNC110 - a quiet time is what is waited for
            await asyncio.sleep(_QUIET_SECONDS / 2)

    async def _see_cancellations(self, worker: str) -> None:
        for deployment_id in await self._around.journal.cancellations(worker):
            if held := self._runs.get(deployment_id):
                held[0].cancel_requested.set()

    async def _renew(self) -> None:
        """Renew the lease; once it may have run out, stop everything: another may have taken the runs."""
        seconds = self._around.settings.runner_lease_seconds
        renewed = time.monotonic()
        while self._worker is not None:
            await asyncio.sleep(seconds / 3)
            with suppress(StoreAway, TimeoutError):
                began = time.monotonic()
                async with asyncio.timeout(seconds):
                    if not await self._around.journal.renew(self._worker, seconds):
                        break
                renewed = began
            if self._lock is None and time.monotonic() - renewed > seconds:
                break
        log.warning("lease_lost", worker=self._worker, runs=len(self._runs))
        self._worker = None
        for _, task in self._runs.values():
            task.cancel()
        self._woken.set()

    async def _execute(self, run: Run) -> None:
        structlog.contextvars.bind_contextvars(deployment=run.id, stack=run.name)
        try:
            await self._run(run)
        except RunLost:
            log.info("run_left")
        except Exception:
            # A mistake of ours, not of a step's. The run is given back, so that a fixed portal can go on with it.
            log.exception("run_broke")
            await asyncio.sleep(5)
            with suppress(StoreAway):
                await self._around.journal.let_go(run)
        finally:
            self._runs.pop(run.id, None)
            self._woken.set()

    async def _run(self, run: Run) -> None:
        secrets = StackSecrets.decrypt(run.secrets, self._vault)
        context = RunContext(run, self._around, Plan.from_json(run.plan), secrets)
        steps: Sequence[Step] = [step(context) for step in (CREATION if run.kind is Kind.CREATE else REMOVAL)]
        first: list[Event] = [DeploymentResumed()]
        if run.last_event <= 1:
            warnings = context.plan.warnings if run.kind is Kind.CREATE else ()
            first = [DeploymentStarted(run.name, run.kind), *(Warned(code) for code in warnings)]
        saga = Saga(run.kind, steps, context, compensates=run.kind is Kind.CREATE)
        before = PortalError(run.problem["code"], **run.problem["params"]) if run.problem else None
        ending = await saga.run(Checkpoint(events=first), before, undoing=run.undoing)
        try:
            await self._conclude(context, ending)
        except CanceledMeanwhile:
            # Whoever cancelled was told that it would be undone, so what has just succeeded is undone after all.
            rest = ending.rest
            rest.events.append(CancelRequested())
            rest.problem = {"code": "canceled", "params": {}, "step": steps[-1].name}
            await self._conclude(context, await saga.run(rest, PortalError("canceled")))

    async def _conclude(self, context: RunContext, ending: Ending) -> None:
        run, problem, rest = context.run, ending.problem, ending.rest
        changed = {change.kind: change.state for change in rest.resources}
        because = ending.left_because.code if ending.left_because else None
        left: Sequence[Left] = []
        if problem is None:
            conclusion = Conclusion.SUCCEEDED
        else:
            conclusion = Conclusion.CANCELED if problem.code == "canceled" else Conclusion.FAILED
            left = [
                Left(each.kind, each.name, context.left_because.get(each.kind) or because or _usual(each.kind))
                for each in run.resources.values()
                if changed.get(each.kind, each.state) in {ResourceState.INTENDED, ResourceState.PRESENT}
            ]
        completed = DeploymentCompleted(
            name=run.name,
            kind=run.kind,
            url=context.plan.url,
            conclusion=conclusion,
            code=problem.code if problem else None,
            leftovers=[{"kind": each.kind, "name": each.name} for each in left],
        )
        last = replace(rest, events=[*rest.events, completed])
        removed = run.kind is Kind.REMOVE and problem is None
        undone = run.kind is Kind.CREATE and problem is not None and not left
        await self._around.journal.record(
            run,
            last,
            conclusion=conclusion,
            left=left,
            frees_name=removed or undone,
            unless_canceled=run.kind is not Kind.REMOVE and problem is None,
        )
        log.info("deployment_completed", conclusion=conclusion, code=completed.code, leftovers=len(left))


def _usual(kind: str) -> str:
    """Why something is left, where that was found out before this process took the run up."""
    return "route_stays" if kind == "domain" else "still_in_use"
