"""The runner: claims deployments, runs many at once, takes up what was interrupted, and hands over at the end."""

import asyncio
import time
from collections import Counter
from contextlib import suppress

import structlog

from app.engine.context import RunnerDeps
from app.engine.executor import Executor, MakeSteps
from app.engine.run import Run
from app.engine.saga import RunLost
from app.security.vault import Vault
from app.store.errors import StoreAway
from app.store.lock import FileLock

log = structlog.get_logger()

# A burst of requests is over when none came for so long, or has lasted long enough to begin all the same.
_QUIET_SECONDS = 0.02
_BURST_SECONDS = 0.5
# How long runs may take to come to a place where they can be handed over; all of it is to be done within a second.
_STOP_SECONDS = 0.6
# How long the store may take to be told.
_LEAVE_SECONDS = 2.0
# As _STOP_SECONDS, for runs whose lease is lost. Not at once: a process that wakes up finds deadlines of calls over as
# well, and a call that is cut off twice at the same moment may leave its connection for ever in use.
_LOST_SECONDS = 0.1
# A process that was told of nothing still looks now and then: a notification can be lost, and none tells that a lease
# has run out. The lease, this, and a claim are what a killed process's runs wait for.
_LOOK_SECONDS = 0.5
# How long a run that broke waits for another try; each time twice as long, up to this.
_BROKEN_SECONDS = 5.0
_LONGEST_BROKEN = 600.0
# Counts on while the machine is suspended, where there is such a clock: the lease runs out meanwhile.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Runner:
    """Runs deployments in this process. It owns their tasks; requests and streams only look on."""

    def __init__(self, deps: RunnerDeps, vault: Vault, lock: FileLock | None, *, make_steps: MakeSteps) -> None:
        """`lock`: taken before anything is run, where the store is one SQLite file; None on PostgreSQL.

        `make_steps`: makes the steps of a run, in the order of its operation.
        """
        self._deps = deps
        self._executor = Executor(deps, vault, make_steps)
        self._lock = lock
        self._worker: str | None = None
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._broken: Counter[str] = Counter()
        self._woken = asyncio.Event()
        self._held_until = float("-inf")
        self._look_for_cancellations = False
        self._may_wait = True  # whether there may be deployments that nobody has claimed
        self._queued_at = float("-inf")
        self._claiming: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many deployments run here now."""
        return len(self._runs)

    @property
    def is_active(self) -> bool:
        """Whether this process runs deployments, or waits for the one that does."""
        return self._worker is not None

    @property
    def is_started(self) -> bool:
        """Whether this process is one that runs deployments at all."""
        return self._claiming is not None

    def assert_lease(self) -> None:
        """Raise RunLost once this process's lease may have run out: what it still does would be done beside another.

        Asked before each change in Dokploy, as a process that was asleep wakes up in the middle of anything. On SQLite
        it is the file's lock that keeps others out, for as long as the process is there.
        """
        if self._lock is None and _now() >= self._held_until:
            raise RunLost("the lease has run out")

    def start(self) -> None:
        """Begin to claim."""
        self._claiming = asyncio.create_task(self._claim_forever(), name="claim")

    def wake(self, reason: str) -> None:
        """Look now: something was `queued`, or somebody asked to `cancel`."""
        if reason == "cancel":
            self._look_for_cancellations = True
        else:
            self._queued_at = time.monotonic()
            self._may_wait = True
        self._woken.set()

    def begin_stop(self) -> asyncio.Task[None]:
        """Begin to stop, and return what ends when it is done; the same however often it is asked for."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name="stop")
        return self._stopping

    async def stop(self) -> None:
        """Stop within a second: runs come to a place where a peer, or the next start, goes on with them."""
        await asyncio.shield(self.begin_stop())

    async def _stop(self) -> None:
        began = _now()
        if self._claiming is not None:
            self._claiming.cancel()
            await asyncio.gather(self._claiming, return_exceptions=True)
        runs = len(self._runs)
        await self._end_runs(_STOP_SECONDS)
        if self._worker is not None:
            worker, self._worker = self._worker, None
            self._held_until = float("-inf")
            try:
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await self._deps.leases.leave(worker)
            except Exception as error:  # noqa: BLE001 - then the lease runs out by itself
                _tell(error)
            log.info("runs_handed_over", worker=worker, runs=runs, seconds=round(_now() - began, 3))
        if self._lock is not None:
            self._lock.release()

    async def _end_runs(self, seconds: float) -> None:
        """See every run end: most come to a place where they can be left within the time, the others are cut off."""
        for run, _ in self._runs.values():
            run.hand_over()
        if tasks := [task for _, task in self._runs.values()]:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _claim_forever(self) -> None:
        while True:
            try:
                worker = await self._become_active()
            except Exception as error:  # noqa: BLE001 - as below
                _tell(error)
                await asyncio.sleep(0.5)
                continue
            renewal = asyncio.create_task(self._renew(worker), name="renew")
            try:
                await self._claim_while_active(worker)
                await renewal  # which sees the runs end, so that none is there still when it is taken anew
            finally:
                renewal.cancel()
                await asyncio.gather(renewal, return_exceptions=True)

    async def _become_active(self) -> str:
        if self._lock is not None:
            while not self._lock.acquire():  # noqa: ASYNC110 - another process holds it, and no event tells
                await asyncio.sleep(0.2)
        seconds = self._deps.settings.runner_lease_seconds
        began = _now()
        self._worker = await self._deps.leases.register(seconds, alone=self._lock is not None)
        self._held_until = began + seconds
        self._may_wait = True
        log.info("runner_active", worker=self._worker)
        return self._worker

    async def _claim_while_active(self, worker: str) -> None:
        """Claim until the lease is lost."""
        looked_at = time.monotonic()
        while self._worker is not None:
            self._woken.clear()
            if time.monotonic() - looked_at > _LOOK_SECONDS:
                # A notification may have been lost, and a process that only takes requests in has none on SQLite.
                looked_at, self._look_for_cancellations = time.monotonic(), True
                self._may_wait = True
            try:
                if await self._look(worker):
                    continue
            except Exception as error:  # noqa: BLE001 - a process that no longer looks would seem to be well
                _tell(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._woken.wait()

    async def _look(self, worker: str) -> bool:
        """See what was cancelled, and claim; say whether there may be more to claim."""
        holding = None
        if self._look_for_cancellations:
            self._look_for_cancellations = False
            await self._see_cancellations(worker)
            holding = list(self._runs)
        await self._let_requests_in()
        free = self._free()
        if free <= 0 or not self._may_wait:
            return False  # each run that comes further wakes this up, also while nothing waits
        self._may_wait = False  # before the claim: what is queued while it is under way may have come too late for it
        try:
            claimed = await self._deps.leases.claim(worker, free, holding)
        except BaseException:
            self._may_wait = True
            raise
        self._may_wait = self._may_wait or len(claimed) == free
        if self._worker != worker:
            return False  # lost meanwhile, and with it what was claimed
        for run in claimed:
            run.status_changed = self._woken.set
            task = asyncio.create_task(self._execute(run), name=f"deployment {run.id}")
            self._runs[run.id] = (run, task)
        return bool(claimed)

    def _free(self) -> int:
        """How many more deployments to take.

        No more prepare at once than calls to Dokploy may be under way: more would only wait for each other, and all
        of them would end late together. Those that wait for Dokploy's part do not count.
        """
        settings = self._deps.settings
        preparing = sum(run.is_preparing for run, _ in self._runs.values())
        return min(settings.runner_concurrency - len(self._runs), settings.dokploy_max_concurrency - preparing)

    async def _let_requests_in(self) -> None:
        """Wait for the end of a burst of requests: to be taken in is what a person waits for, so it goes first."""
        begun = time.monotonic()
        while (now := time.monotonic()) - self._queued_at < _QUIET_SECONDS and now - begun < _BURST_SECONDS:  # noqa: ASYNC110 - a quiet time is what is waited for
            await asyncio.sleep(_QUIET_SECONDS / 2)

    async def _see_cancellations(self, worker: str) -> None:
        if not self._runs:
            return
        try:
            asked = await self._deps.leases.cancellations(worker)
        except StoreAway:
            self._look_for_cancellations = True
            raise
        for deployment_id in asked:
            if held := self._runs.get(deployment_id):
                held[0].cancel()

    async def _renew(self, worker: str) -> None:
        """Renew the lease; once it may have run out, end every run: another may have taken them."""
        seconds = self._deps.settings.runner_lease_seconds
        while True:
            await asyncio.sleep(seconds / 3)
            began = _now()
            try:
                # On PostgreSQL no longer than there is something to renew.
                async with asyncio.timeout(seconds if self._lock else self._held_until - began):
                    if not await self._deps.leases.renew(worker, seconds):
                        break
                self._held_until = began + seconds
            except Exception as error:  # noqa: BLE001 - as above
                _tell(error)
            if self._lock is None and _now() >= self._held_until:
                break
        log.warning("lease_lost", worker=worker, runs=len(self._runs))
        self._worker = None
        self._held_until = float("-inf")
        self._woken.set()
        await self._end_runs(_LOST_SECONDS)

    async def _execute(self, run: Run) -> None:
        structlog.contextvars.bind_contextvars(deployment=run.id, stack_name=run.name)
        try:
            await self._executor.execute(run)
        except RunLost:
            log.info("run_left")
        except Exception:
            # A mistake of ours, not of a step's. The run is given back, so that a fixed portal can go on with it; until
            # then it is in nobody's way.
            log.exception("run_broke")
            run.is_broken = True
            self._woken.set()
            self._broken[run.id] += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_BROKEN_SECONDS * 2 ** (self._broken[run.id] - 1), _LONGEST_BROKEN)):
                    await run.stopping.wait()
            with suppress(StoreAway):
                await self._deps.leases.let_go(run)
            self._may_wait = True
        else:
            self._broken.pop(run.id, None)
        finally:
            self._runs.pop(run.id, None)
            self._woken.set()


def _tell(error: Exception) -> None:
    """Log what keeps this process from its store, and more of what may not pass by itself."""
    if isinstance(error, StoreAway | TimeoutError):
        log.warning("store_away", reason=str(error) or type(error).__name__)
    else:
        log.error("store_refused", reason=type(error).__name__, detail=str(error)[:500])


def _now() -> float:
    return time.clock_gettime(_CLOCK)
