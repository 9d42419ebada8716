"""The step in which Dokploy works: triggers the deployment once, and follows that very one to its end."""

import time
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from app.deployments.events import LogLine, Progressed, QueuePosition
from app.deployments.states import ResourceState, Status
from app.dokploy import DokployDeployment, DokployError, QueueJob
from app.engine.saga import Outcome, ResourceChange
from app.errors import PortalError
from app.observation.tracker import DEFAULT_TITLE, DokployQueue, Pace, find_row
from app.operations.steps.base import CreateStep

log = structlog.get_logger()

# A deployment that is neither in the queue nor on record for so long was lost in a restart of Dokploy.
_LOST_AFTER = 3.0
# A server that drops titles shows ours under its default title; this long the proper one is waited for before guessing.
_TITLE_AFTER = 2.0
_SLOW_QUEUE = 120.0
# Deadlines are looked at this often while nothing changes.
_LOOK_AFTER = 5.0
_LOG_AFTER, _LOG_EVERY, _LOG_LINES, _LOG_LENGTH = 2.0, 2.0, 300, 400


class Deploy(CreateStep):
    """Puts a deployment that bears our id as its title into Dokploy's queue, and waits for its end."""

    name = "deploy"
    needs = ("configure", "domain")
    intends = ("volume",)
    status = Status.DEPLOY

    async def work(self) -> Outcome:
        """Ask, follow, and ask once more if Dokploy loses it."""
        self._pace = Pace()
        self._title = self.context.run.id
        self._asked = 0  # by this process: what an earlier one wrote down may never have been sent
        self._place: tuple[int, int] | None = None
        self._warned_slow = False
        self._running_since: float | None = None
        self._triggered: float | None = None
        self._dead: set[str] = set()
        self._log_lines = 0
        self._log_read_at = 0.0
        await self._trigger_unless_done()
        while (row := await self._follow()) is None:
            if self._asked > 1:
                raise PortalError("deploy_cancelled")
            await self.context.tell(Progressed(step=self.name, what="deploy_triggered_again"))
            await self._trigger()
        if row.status == "error":
            await self._read_log(row, last=True)
            raise PortalError("deploy_failed", image=self.plan.image)
        return Outcome(
            output=self._measured(row),
            resources=[ResourceChange("volume", ResourceState.PRESENT)]
            if self.context.resource("volume").state is ResourceState.INTENDED
            else [],
            # The container was started with these, so that from here on they are the stack's.
            secrets=self.context.run.next_secrets,
        )

    async def undo(self) -> Outcome:
        """Wait until Dokploy has let go of the application."""
        await self.cleanup.release(self.name)
        return Outcome()

    # Asking

    async def _trigger_unless_done(self) -> None:
        """Ask, unless an earlier process has asked already."""
        rows: list[DokployDeployment] = []
        if not self.context.run.operation.begins_stack or self.context.was_tried(self.name):
            rows = await self.dokploy.list_deployments(self.application_id)
        if self.context.was_tried(self.name):
            queue = await self._queue()
            if queue.titled(self._title) or self._find(rows):
                return
            if self.context.output(self.name, "triggered_at"):
                return  # it was asked for; whether it was lost is for following to find out
        # A new application has no deployments yet; one of an earlier run may have.
        await self._trigger(baseline=[row.deployment_id for row in rows])

    async def _trigger(self, **also: Any) -> None:
        """Put the job into the queue. Written down before: an answer that is lost leaves the rest to following.

        `also`: what is noted with that.
        """
        await self.context.note(self.name, {**also, "triggered_at": datetime.now(UTC).isoformat()})
        self._asked += 1
        self._triggered = time.monotonic()
        try:
            await self.dokploy.deploy_application(self.application_id, self._title, str(self.context.marker))
        except DokployError as error:
            if not error.uncertain:
                raise
            self.context.doubts.add(self.name, self._triggered)
            log.warning("deploy_answer_lost", detail=str(error))

    # Following

    async def _follow(self) -> DokployDeployment | None:
        """Follow our deployment to `done` or `error`; None where Dokploy lost or cancelled it in a restart."""
        self._pace.moved()
        absent_since: float | None = None
        await self.context.clock.check_canceled()
        queue = await self._queue()
        while True:
            job = self._job(queue)
            if job is not None and job.state == "waiting":
                absent_since = None
                await self._waits(queue, job)
                queue = await self._next(queue, job)
                continue
            row = await self._row(queue, job)
            if row is not None and row.status in {"done", "error"} and await self._is_sure(row):
                return row
            if row is not None and row.status == "cancelled":
                log.warning("dokploy_cancelled_it", row=row.deployment_id)
                # It bears our title for ever; the next one of ours is another row, which may appear late.
                self._dead.add(row.deployment_id)
                self._running_since = None
                return None
            if job is not None or row is not None:
                absent_since = None
                words = job.data if job else None
                if row is not None or (words and self._is_ours(words.title_log, words.description_log)):
                    self.context.doubts.clear(self.name)
                await self._runs(row)
            else:
                absent_since = absent_since or self.context.clock.now()
                if self._is_lost(absent_since):
                    return None
            queue = await self._next(queue, job)

    async def _next(self, queue: DokployQueue, job: QueueJob | None) -> DokployQueue:
        """Return the queue at the next look: while our job is in it, once what it says of it has changed."""
        if job is not None:
            changed = self.context.deps.tracker.queue_observer.change(
                self._part, queue, interval=self._interval, within=self._longest_wait()
            )
            try:
                return await self.context.clock.wait_for(changed)
            except DokployError:
                return await self._queue()  # which waits for the end of an outage
        await self.context.clock.pause(self._interval())
        return await self._queue()

    def _part(self, queue: DokployQueue) -> Hashable:
        """Return what a queue says of our job."""
        job = self._job(queue)
        if job is None:
            return None
        return (job.id, job.state, queue.place(job), queue.waiting) if job.state == "waiting" else (job.id, job.state)

    def _longest_wait(self) -> float:
        """Seconds until there is something to do although the queue stays as it is: a deadline, or the log."""
        if self._running_since is None:
            return _LOOK_AFTER
        long_enough = self._running_since + _LOG_AFTER - self.context.clock.now()
        log_is_due = max(long_enough, self._log_read_at + _LOG_EVERY - time.monotonic())
        return max(self._interval(), min(log_is_due, _LOOK_AFTER))

    async def _queue(self) -> DokployQueue:
        return await self.context.outages.persist(self.context.deps.tracker.queue, repeatable=True)

    @property
    def settings(self) -> Any:
        """The portal's settings."""
        return self.context.settings

    def _job(self, queue: DokployQueue) -> QueueJob | None:
        """Our job, by its title, or by our marker where the title was dropped.

        Where both may have been, one without a name may be ours: it is waited for, and proves nothing.
        """
        tracker = self.context.deps.tracker
        if job := queue.titled(self._title):
            tracker.keeps_titles = True
            return job
        if job := queue.untitled(self.application_id, self.context.marker):
            return job
        return None if tracker.keeps_titles else queue.untitled(self.application_id, None)

    def _is_ours(self, title: str | None, description: str | None) -> bool:
        return title == self._title or (title == DEFAULT_TITLE and self.context.marker.is_on(description))

    @property
    def _guess(self) -> int:
        """How many rows without a name must all be ours; 0: none is taken for ours.

        A single one may be somebody else's while ours was lost. A server that keeps titles gives the second of ours its
        own; only where that is without one, too, nothing better is to be had.
        """
        late = self._triggered is not None and time.monotonic() - self._triggered > _TITLE_AFTER
        return self._asked if late and self._asked > 1 and not self.context.deps.tracker.keeps_titles else 0

    def _find(self, rows: Sequence[DokployDeployment], *, guess: int = 0) -> DokployDeployment | None:
        baseline = self.context.output(self.name, "baseline") or []
        rows = [row for row in rows if row.deployment_id not in self._dead]
        row = find_row(rows, self._title, marker=self.context.marker, baseline=baseline, guess=guess)
        if row is not None and row.title == self._title:
            self.context.deps.tracker.keeps_titles = True
        return row

    async def _row(self, queue: DokployQueue, job: QueueJob | None) -> DokployDeployment | None:
        """Our row. While the job is active the row only tells that it runs, so it is read for its log's sake alone."""
        if job is not None and not self._log_is_due():
            return None
        rows = await self.dokploy.list_deployments(self.application_id)
        # While any job of the application is there, ours may be the one that has no row yet.
        return self._find(rows, guess=0 if queue.of_application(self.application_id) else self._guess)

    async def _is_sure(self, row: DokployDeployment) -> bool:
        """Cross-check a quick end that was never seen running (DDA-7): our title or marker is proof, a guess is not."""
        if self._is_ours(row.title, row.description) or self._running_since is not None:
            return True
        again = find_row(await self.dokploy.list_deployments(self.application_id), row.title)
        return again is not None and (again.deployment_id, again.created_at, again.status) == (
            row.deployment_id,
            row.created_at,
            row.status,
        )

    def _is_lost(self, absent_since: float) -> bool:
        """Whether Dokploy has forgotten our job. Raises PortalError once a second one does not appear either."""
        absent = self.context.clock.now() - absent_since
        if self.context.doubts.may_land(self.name):
            return False
        if self._asked < 2:
            return absent > _LOST_AFTER
        if absent > self.settings.deploy_appear_seconds:
            raise PortalError("deploy_not_found", seconds=self.settings.deploy_appear_seconds)
        return False

    async def _waits(self, queue: DokployQueue, job: QueueJob) -> None:
        """Tell the place in line when it changes, and watch the time."""
        place = (queue.place(job), queue.waiting)
        if place != self._place:
            if self._place is None or place[0] != self._place[0]:
                usual = (await self.context.deps.estimates.medians()).dokploy
                estimate = None if usual is None else round(usual * place[0], 1)
                await self.context.tell(QueuePosition(position=place[0], total=place[1], estimate_seconds=estimate))
            self._place = place
        waited = self._waited()
        if waited > _SLOW_QUEUE and not self._warned_slow:
            self._warned_slow = True
            await self.context.tell(Progressed(step=self.name, what="queue_slow"))
        if waited > self.settings.queue_timeout_seconds:
            raise PortalError("queue_timeout", seconds=self.settings.queue_timeout_seconds)

    def _waited(self) -> float:
        since = self.context.output(self.name, "triggered_at")
        return (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds() if since else 0.0

    async def _runs(self, row: DokployDeployment | None) -> None:
        """Note that it runs, hand on its log, and keep the deadline, which begins when the job does."""
        now = self.context.clock.now()
        if self._running_since is None:
            self._running_since = now
            self._pace.moved()
            await self.context.tell(Progressed(step=self.name, what="container_running"))
        if now - self._running_since > self.settings.deploy_timeout_seconds:
            raise PortalError("deploy_timeout", seconds=self.settings.deploy_timeout_seconds)
        if row is not None and self._log_is_due():
            await self._read_log(row)

    def _log_is_due(self) -> bool:
        """Whether to read the log again: not of a deployment that is over soon, and not at every look at the queue."""
        since = self._running_since
        runs_long = since is not None and self.context.clock.now() - since >= _LOG_AFTER
        return runs_long and time.monotonic() - self._log_read_at > _LOG_EVERY

    async def _read_log(self, row: DokployDeployment, *, last: bool = False) -> None:
        """Record the lines of Dokploy's log that are new. A log that cannot be read is no reason to fail."""
        self._log_read_at = time.monotonic()
        try:
            lines = await self.context.deps.dokploy.read_deployment_log(row.deployment_id)
        except DokployError as error:
            log.info("log_unreadable", detail=str(error))
            return
        new = lines[self._log_lines :]
        room = max(0, _LOG_LINES - self._log_lines)
        self._log_lines = len(lines)
        # The reason stands at the end of a log, so that is what is kept of one that is too long.
        new = new[-max(room, 20) :] if last else new[:room]
        events = [LogLine(line=text) for line in new if (text := self._readable(line))]
        if events:
            await self.context.tell(*events)

    def _readable(self, line: str) -> str:
        return self.context.mask("".join(letter for letter in line if letter.isprintable()), _LOG_LENGTH).strip()

    def _measured(self, row: DokployDeployment) -> dict[str, Any]:
        """How long Dokploy worked on it, for estimates, by Dokploy's own clock."""
        output: dict[str, Any] = {"row": row.deployment_id}
        if row.finished_at is not None:
            output["ran_seconds"] = round((row.finished_at - row.created_at).total_seconds(), 3)
        return output

    def _interval(self) -> float:
        return self._pace.interval(watched=self.context.is_watched())
