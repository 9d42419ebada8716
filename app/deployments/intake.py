"""Takes requests in: a stack, its deployment and the first event in one transaction, or the reason why not."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import Connection, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.database import Database
from app.deployments import tables
from app.deployments.events import STEPS, Conclusion, DeploymentQueued, Kind, Status
from app.deployments.plan import Plan, declare
from app.deployments.quota import Quotas, count_stacks
from app.deployments.record import DeploymentRecord, Records, StackRecord
from app.deployments.request import DeploymentRequest, new_id, suggest_names
from app.deployments.saga import ResourceState, StepState
from app.deployments.template import StackSecrets, Template
from app.errors import PortalError
from app.vault import Vault, fingerprint, new_manage_key, new_password

log = structlog.get_logger()

_IDEMPOTENCY_LIVES = timedelta(hours=24)
# A creation that ends in the very moment makes room for a removal; others may be faster than ours.
_TRIES = 5
VolumeChoice = Literal["erase", "keep"]


@dataclass(frozen=True)
class Accepted:
    """A request that was taken in, or one taken in before under the same Idempotency-Key. manage_key is a secret."""

    deployment_id: str
    name: str
    url: str
    manage_key: str = field(repr=False)


@dataclass(frozen=True)
class Asker:
    """Who asks. owner: whose the stack will be; actor: who did it, for the record; trigger: user, api or cli.

    is_operator: whether it is the operator, whom the limits of an owner do not hold.
    """

    owner: str
    actor: str
    trigger: str
    is_operator: bool = False


class Intake:
    """The only writer besides the journal: it begins runs, which from then on belong to a runner."""

    def __init__(
        self,
        database: Database,
        records: Records,
        vault: Vault,
        wake: Callable[[str], None],
        *,
        admit: Callable[[], None] = lambda: None,
        quotas: Quotas | None = None,
    ) -> None:
        """`wake` tells this process's runner: `queued`, or `cancel`; `admit` raises while no stack is to be begun.

        `quotas`: how much there may be at once; None: as much as is asked for.
        """
        self._database = database
        self._records = records
        self._vault = vault
        self._wake = wake
        self._admit = admit
        self._quotas = quotas or Quotas()

    async def deploy(
        self,
        request: DeploymentRequest,
        plan: Plan,
        template: Template,
        asker: Asker,
        *,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Record a new stack and queue its deployment.

        Raises PortalError: `name_taken`, `name_cleaning_up`, `idempotency_key_reused`, `dokploy_away`, and where there
        are too many `stacks_full`, `stacks_of_owner`, `in_flight_full`, `in_flight_of_owner`.
        """
        accepted = Accepted(new_id(), plan.name, plan.url, new_manage_key())
        body_hash = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
        key_hash = fingerprint(idempotency_key) if idempotency_key else None

        stacks = 0

        def take_in(connection: Connection) -> Accepted:
            nonlocal stacks
            # First of all: a replay that waits for the request it repeats is not refused for that one's place.
            self._quotas.take_turns(self._database, connection)
            if key_hash and (replay := self._replay(connection, key_hash, body_hash)):
                return replay
            self._admit()
            self._insert_stack(connection, accepted, plan, template, asker, declare(request, template))
            # After the insert, which says that a name is taken: that is the better reason.
            self._quotas.check_stack(connection, asker.owner, is_operator=asker.is_operator)
            stacks = count_stacks(connection)
            if key_hash:
                connection.execute(
                    insert(tables.idempotency).values(
                        key_hash=key_hash,
                        body_hash=body_hash,
                        deployment_id=accepted.deployment_id,
                        answer=self._vault.encrypt(json.dumps(asdict(accepted))),
                        created_at=_now(),
                    )
                )
            self._database.notify(connection, "queued")
            return accepted

        try:
            taken_in = await self._database.write(take_in)
        except IntegrityError:
            # Somebody else was faster: with the same key it is the same answer, otherwise the name is theirs.
            if key_hash and (
                replay := await self._database.write(lambda each: self._replay(each, key_hash, body_hash))
            ):
                return replay
            raise await self.taken(plan.name) from None
        if taken_in is accepted:  # a replay begins nothing
            self._wake("queued")
            if stacks == self._quotas.line:
                log.warning("stacks_nearly_full", stacks=stacks, limit=self._quotas.stacks)
        return taken_in

    def _replay(self, connection: Connection, key_hash: str, body_hash: str) -> Accepted | None:
        table = tables.idempotency
        row = connection.execute(select(table).where(table.c.key_hash == key_hash)).first()
        if row is None:
            return None
        if row.created_at < _now() - _IDEMPOTENCY_LIVES:
            connection.execute(delete(table).where(table.c.key_hash == key_hash))
            return None
        if row.body_hash != body_hash:
            raise PortalError("idempotency_key_reused", field="Idempotency-Key")
        return Accepted(**json.loads(self._vault.decrypt(row.answer)))

    def _insert_stack(
        self,
        connection: Connection,
        accepted: Accepted,
        plan: Plan,
        template: Template,
        asker: Asker,
        declared: Mapping[str, Any],
    ) -> None:
        stack_id, now, frozen = new_id(), _now(), plan.to_json()
        connection.execute(
            insert(tables.stack).values(
                id=stack_id,
                name=plan.name,
                owner=asker.owner or f"key:{stack_id}",
                template=plan.template,
                plan=frozen,
                manage_key_hash=fingerprint(accepted.manage_key),
                secrets=StackSecrets(new_password(), dict(template.variables)).encrypt(self._vault),
                created_at=now,
            )
        )
        connection.execute(
            insert(tables.resource),
            [
                {
                    "stack_id": stack_id,
                    "kind": kind,
                    "name": name,
                    "state": ResourceState.PLANNED,
                    "attempts": 0,
                    "changed_at": now,
                }
                for kind, name in (
                    ("project", plan.project),
                    ("application", plan.application),
                    ("mount", plan.volume_path),
                    ("volume", plan.volume),
                    ("domain", plan.host),
                )
            ],
        )
        self._insert_deployment(
            connection,
            accepted.deployment_id,
            stack_id,
            name=plan.name,
            plan=frozen,
            kind=Kind.CREATE,
            asker=asker,
            options={"declared": declared},
        )

    def _insert_deployment(
        self,
        connection: Connection,
        deployment_id: str,
        stack_id: str,
        *,
        name: str,
        plan: Mapping[str, Any],
        kind: Kind,
        asker: Asker,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        now = _now()
        connection.execute(
            insert(tables.deployment).values(
                id=deployment_id,
                stack_id=stack_id,
                name=name,
                kind=kind,
                trigger=asker.trigger,
                actor=asker.actor,
                options=dict(options or {}),
                plan=dict(plan),
                created_at=now,
                status=Status.QUEUED,
                leftovers=[],
                last_event=1,
            )
        )
        connection.execute(
            insert(tables.step),
            [
                {
                    "deployment_id": deployment_id,
                    "name": step,
                    "place": place,
                    "state": StepState.PENDING,
                    "attempts": 0,
                    "output": {},
                }
                for place, step in enumerate(STEPS[kind])
            ],
        )
        queued = DeploymentQueued(name=name, kind=kind)
        connection.execute(
            insert(tables.event).values(
                deployment_id=deployment_id,
                n=1,
                at=now,
                type=queued.type,
                key=queued.key,
                params=queued.params,
                status=Status.QUEUED,
                undoing=False,
            )
        )

    async def taken(self, name: str) -> PortalError:
        """Say why a held name cannot be had: it belongs to a stack, or to one that is still being removed."""
        stack = await self._records.find_stack(name)
        newest = await self._records.newest_deployment(stack.id) if stack else None
        code = "name_cleaning_up" if newest is None or is_cleaning_up(newest) else "name_taken"
        return PortalError(code, field="name", name=name)

    async def refusals(self, asker: Asker) -> list[PortalError]:
        """Why a new stack would be one too many at this moment, if it would; for whoever only wants to know."""
        return await self._database.read(
            lambda connection: list(
                self._quotas.refusals(connection, asker.owner, is_operator=asker.is_operator, added=False)
            )
        )

    async def suggest(self, name: str, reserved: tuple[str, ...]) -> list[str]:
        """Up to three names near a taken one that are free."""
        wanted = suggest_names(name)
        not_free = await self._records.held(wanted) | {word.lower() for word in reserved}
        return [word for word in wanted if word not in not_free][:3]

    async def remove(self, stack: StackRecord, volume: VolumeChoice | None, asker: Asker) -> str:
        """Queue the removal of a stack and return its deployment's id.

        volume: what becomes of its files; None: what whoever removed it last has chosen. During its creation that run
        is cancelled instead, and during a removal with the same choice that one is returned. Raises PortalError:
        `stack_busy` while something else changes the stack, `stack_not_found` once it is gone.
        """
        deployment_id = new_id()

        def take_in(connection: Connection) -> None:
            self._insert_deployment(
                connection,
                deployment_id,
                stack.id,
                name=stack.name,
                plan=stack.plan,
                kind=Kind.REMOVE,
                asker=asker,
                options={"volume": volume},
            )
            self._must_exist(connection, stack)
            if volume is None:
                table = tables.deployment
                chosen = {"volume": self._chosen_before(connection, stack.id, deployment_id)}
                connection.execute(update(table).where(table.c.id == deployment_id).values(options=chosen))
            self._database.notify(connection, "queued")

        for _ in range(_TRIES):
            try:
                await self._database.write(take_in)
            except IntegrityError:
                newest = await self._records.newest_deployment(stack.id)
                if newest is None:
                    raise PortalError("stack_not_found", name=stack.name) from None
                if newest.kind is Kind.REMOVE and volume in {None, newest.options.get("volume")}:
                    return newest.id
                # An undo erases the volume, so that a creation cannot be left with it.
                if newest.kind is not Kind.CREATE or volume == "keep":
                    raise PortalError("stack_busy", name=stack.name) from None
                if await self.cancel(newest.id):
                    return newest.id
                # It has ended in this very moment, so that there is a stack to remove.
            else:
                self._wake("queued")
                return deployment_id
        raise PortalError("stack_busy", name=stack.name)

    @classmethod
    def _chosen_before(cls, connection: Connection, stack_id: str, deployment_id: str) -> str:
        """A creation takes with it what it made, and no volume that it found; a removal does what it was told."""
        before = cls._before(connection, stack_id, deployment_id)
        if before.kind == Kind.REMOVE:
            return str(before.options.get("volume", "erase"))
        table = tables.resource.c
        state = connection.scalar(select(table.state).where(table.stack_id == stack_id, table.kind == "volume"))
        return "keep" if state == ResourceState.KEPT else "erase"

    @staticmethod
    def _before(connection: Connection, stack_id: str, deployment_id: str) -> Any:
        """The stack's deployment before one that is its only open one, so that no other can come between."""
        table = tables.deployment.c
        return connection.execute(
            select(table.kind, table.options, table.conclusion)
            .where(table.stack_id == stack_id, table.id != deployment_id)
            .order_by(table.created_at.desc(), table.id.desc())
            .limit(1)
        ).one()

    async def redeploy(self, stack: StackRecord, asker: Asker) -> str:
        """Queue what makes a stack again what its plan says, and return the deployment's id.

        Raises PortalError: `stack_busy` while something else changes the stack, `name_cleaning_up` where it is to go,
        `stack_not_found` once it is gone, `dokploy_away`, and `in_flight_full` or `in_flight_of_owner`.
        """
        deployment_id = new_id()

        def take_in(connection: Connection) -> None:
            self._quotas.take_turns(self._database, connection)
            self._admit()
            self._insert_deployment(
                connection, deployment_id, stack.id, name=stack.name, plan=stack.plan, kind=Kind.REDEPLOY, asker=asker
            )
            self._must_exist(connection, stack)
            before = self._before(connection, stack.id, deployment_id)
            is_made = before.kind == Kind.CREATE and before.conclusion == Conclusion.SUCCEEDED
            if before.kind != Kind.REDEPLOY and not is_made:
                raise PortalError("name_cleaning_up", name=stack.name)
            self._quotas.check_deployment(connection, stack.owner, is_operator=asker.is_operator)
            self._database.notify(connection, "queued")

        try:
            await self._database.write(take_in)
        except IntegrityError:
            raise PortalError("stack_busy", name=stack.name) from None
        self._wake("queued")
        return deployment_id

    @staticmethod
    def _must_exist(connection: Connection, stack: StackRecord) -> None:
        """Look last: now that a run is the stack's only open one, nobody else can end the stack.

        Its name, and with it the volume's, may be somebody else's by now.
        """
        query = select(tables.stack.c.removed_at).where(tables.stack.c.id == stack.id)
        if connection.scalar(query) is not None:
            raise PortalError("stack_not_found", name=stack.name)

    async def cancel(self, deployment_id: str) -> bool:
        """Ask for a deployment to be cancelled; False where it is already over.

        What is cancelled does not succeed any more. Asking twice, or while it is being undone, changes nothing.
        """
        table = tables.deployment
        is_open = and_(table.c.id == deployment_id, table.c.status != Status.COMPLETED)
        new = and_(is_open, table.c.undoing.is_(False), table.c.cancel_requested_at.is_(None))

        def ask(connection: Connection) -> bool:
            asked = connection.execute(update(table).where(new).values(cancel_requested_at=_now())).rowcount == 1
            # Also for one that was asked for before: whoever asks again may have been told nothing.
            self._database.notify(connection, "cancel")
            return asked or connection.execute(select(table.c.id).where(is_open)).first() is not None

        is_under_way = await self._database.write(ask)
        self._wake("cancel")
        return is_under_way


def is_cleaning_up(newest: DeploymentRecord) -> bool:
    """Whether the newest deployment of a stack leads, or has led, to its end rather than to its running."""
    if newest.kind is Kind.REMOVE or newest.undoing:
        return True
    return newest.status is Status.COMPLETED and any(each.removed_at is None for each in newest.leftovers)


def _now() -> datetime:
    return datetime.now(UTC)
