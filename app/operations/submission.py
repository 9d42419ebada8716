"""Submissions: how a request becomes a deployment, recorded in one transaction with its first event, or refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, update
from sqlalchemy.exc import IntegrityError

from app.audit import Action, note
from app.deployments.events import DeploymentQueued, Event
from app.deployments.states import Status, StepState
from app.ids import new_id
from app.operations.idempotency import IdempotencyKey
from app.operations.operation import Operation
from app.security.vault import Vault
from app.stacks.quotas import Quotas
from app.stacks.requester import Requester
from app.store import schema
from app.store.engine import Database


@dataclass(frozen=True)
class Subject:
    """What a deployment is about, as its row has it."""

    stack_id: str
    name: str
    plan: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """One request on its way into the store.

    subject: says what the deployment is about; where it begins a stack, inserts that. check: raises PortalError where
    it cannot be, and may decide options. It is called when the run is the stack's only open one, so that no other can
    come between. action: its name on the audit trail. key, answer: of a request that may be repeated.
    """

    operation: Operation
    requester: Requester
    subject: Callable[[Connection], Subject]
    check: Callable[[Connection], Mapping[str, Any] | None]
    action: Action
    key: IdempotencyKey | None = None
    answer: str = field(default="", repr=False)
    deployment_id: str = field(default_factory=new_id)


class Conflict(Exception):
    """The store says that the name is held, that the stack has an open deployment, or that the key was used."""


class FactsChanged(Exception):
    """What a plan was decided from is so no more."""


class Submissions:
    """Records deployments: the one transaction by which every verb is submitted."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        quotas: Quotas,
        *,
        admit: Callable[[], None],
        wake: Callable[[str], None],
    ) -> None:
        """`admit` raises while nothing is to be begun; `wake` tells this process's runner what is `queued`."""
        self._database = database
        self._vault = vault
        self._quotas = quotas
        self._admit = admit
        self._wake = wake

    async def submit(self, submission: Submission) -> str | None:
        """Record a deployment, or return the answer that its key stands for. Raises Conflict, and PortalError."""

        def record(connection: Connection) -> str | None:
            operation, key = submission.operation, submission.key
            if operation.counts_as_in_flight:
                # First of all: a replay that waits for the request it repeats is not refused for that one's place.
                self._quotas.take_turns(self._database, connection)
            if key and (answer := key.answer(connection, self._vault.decrypt)):
                return answer
            if operation.counts_as_in_flight:
                self._admit()
            subject = submission.subject(connection)
            _insert_deployment(connection, submission, subject)
            if decided := submission.check(connection):
                row = schema.deployment.c.id == submission.deployment_id
                connection.execute(update(schema.deployment).where(row).values(options={**subject.options, **decided}))
            note(
                connection,
                submission.requester.actor,
                submission.action,
                stack=subject.name,
                deployment_id=submission.deployment_id,
            )
            if key:
                key.keep(connection, submission.deployment_id, self._vault.encrypt(submission.answer))
            self._database.notify(connection, "queued")
            return None

        try:
            answer = await self._database.write(record)
        except IntegrityError:
            raise Conflict from None
        if answer is None:  # a replay begins nothing
            self._wake("queued")
        return answer

    async def replay(self, key: IdempotencyKey) -> str | None:
        """Return the answer that a key stands for; None where it is new."""
        return await self._database.write(lambda connection: key.answer(connection, self._vault.decrypt))


def _insert_deployment(connection: Connection, submission: Submission, subject: Subject) -> None:
    operation, requester, now = submission.operation, submission.requester, _now()
    connection.execute(
        insert(schema.deployment),
        {
            "id": submission.deployment_id,
            "stack_id": subject.stack_id,
            "name": subject.name,
            "kind": operation.kind,
            "trigger": requester.trigger,
            "actor": requester.actor.id,
            "actor_email": requester.actor.email,
            "actor_role": requester.actor.role,
            "actor_means": requester.actor.means,
            "options": dict(subject.options),
            "plan": dict(subject.plan),
            "created_at": now,
            "status": Status.QUEUED,
            "leftovers": [],
            "last_event": 1,
        },
    )
    connection.execute(
        insert(schema.step),
        [
            {
                "deployment_id": submission.deployment_id,
                "name": step,
                "place": place,
                "state": StepState.PENDING,
                "attempts": 0,
                "output": {},
            }
            for place, step in enumerate(operation.step_names)
        ],
    )
    insert_event(connection, submission.deployment_id, 1, DeploymentQueued(name=subject.name, kind=operation.kind))


def insert_event(connection: Connection, deployment_id: str, n: int, event: Event) -> None:
    """Add an event to a deployment that is in the queue."""
    connection.execute(
        insert(schema.event),
        {
            "deployment_id": deployment_id,
            "n": n,
            "at": _now(),
            "type": event.type,
            "key": event.key,
            "params": event.params,
            "status": Status.QUEUED,
            "undoing": False,
        },
    )


def _now() -> datetime:
    return datetime.now(UTC)
