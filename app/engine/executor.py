"""The executor: takes one run from its claim, by its saga, to its recorded conclusion."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from app.deployments.events import (
    CancelRequested,
    DeploymentCompleted,
    DeploymentResumed,
    DeploymentStarted,
    Event,
    Warned,
)
from app.deployments.model import Left
from app.deployments.states import Conclusion, ResourceState
from app.engine.context import RunContext, RunnerDeps
from app.engine.journal import CanceledMeanwhile
from app.engine.run import Run
from app.engine.saga import Checkpoint, Ending, Saga, Step
from app.errors import PortalError, SettingsError
from app.security.vault import Vault
from app.stacks.plan import Plan
from app.stacks.templates import StackSecrets

log = structlog.get_logger()

MakeSteps = Callable[[RunContext], Sequence[Step]]


class Executor:
    """Executes runs, any number at once."""

    def __init__(self, deps: RunnerDeps, vault: Vault, make_steps: MakeSteps) -> None:
        """`make_steps`: makes the steps of a run, in the order of its operation."""
        self._deps = deps
        self._vault = vault
        self._make_steps = make_steps

    async def execute(self, run: Run) -> None:
        """Run it to its end, and record that. Raises RunLost where this process no longer holds it."""
        context = RunContext(run, self._deps, Plan.from_json(run.plan), *self._secrets_of(run))
        steps = self._make_steps(context)
        first: list[Event] = [DeploymentResumed()]
        if run.is_new:
            warnings = context.plan.warnings if run.operation.begins_stack else ()
            first = [DeploymentStarted(run.name, run.operation.kind), *(Warned(code) for code in warnings)]
        saga = Saga(run.operation, steps, context)
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

    def _secrets_of(self, run: Run) -> list[StackSecrets]:
        """Open a stack's secrets: first what its container is to have, then what it had until now, where that differs.

        A run that starts no container sends none of them, so it goes on without those that cannot be opened.
        """
        if not run.secrets:  # erased with the stack, of which only files are left
            return [StackSecrets("", {})]
        sealed = [each for each in (run.next_secrets, run.secrets) if each is not None]
        try:
            return [StackSecrets.decrypt(each, self._vault) for each in sealed]
        except SettingsError:
            if run.operation.changes_container:
                raise
            return [StackSecrets("", {})]

    async def _conclude(self, context: RunContext, ending: Ending) -> None:
        run, problem, rest = context.run, ending.problem, ending.rest
        operation = run.operation
        changed = {change.kind: change.state for change in rest.resources}
        because = ending.left_because.code if ending.left_because else None
        left: Sequence[Left] = []
        if problem is None:
            conclusion = Conclusion.SUCCEEDED
        else:
            conclusion = Conclusion.CANCELED if problem.code == "canceled" else Conclusion.FAILED
        if problem is not None and operation.may_leave_leftovers:
            left = [
                Left(each.kind, each.name, context.left_because.get(each.kind) or because or _usual(each.kind))
                for each in run.resources.values()
                if changed.get(each.kind, each.state) in {ResourceState.INTENDED, ResourceState.PRESENT}
            ]
        if problem is not None and operation.ends_stack and not left:
            # What keeps a name must be on the list, or nobody would ever look again.
            left = [Left("project", run.resources["project"].name, problem.code)]
        completed = DeploymentCompleted(
            name=run.name,
            kind=operation.kind,
            url=context.plan.url,
            conclusion=conclusion,
            code=problem.code if problem else None,
            leftovers=[{"kind": each.kind, "name": each.name} for each in left],
        )
        last = replace(rest, events=[*rest.events, completed])
        removed = operation.ends_stack and problem is None
        undone = operation.begins_stack and problem is not None and not left
        await self._deps.journal.record(
            run,
            last,
            conclusion=conclusion,
            left=left,
            frees_name=removed or undone,
            unless_canceled=operation.can_be_canceled and problem is None,
        )
        log.info("deployment_completed", conclusion=conclusion, code=completed.code, leftovers=len(left))


def _usual(kind: str) -> str:
    """Why something is left, where that was found out before this process took the run up."""
    return "route_stays" if kind == "domain" else "still_in_use"
