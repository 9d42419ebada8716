"""Takes requests in: a stack, its deployment and the first event in one transaction, or the reason why not."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import structlog
from sqlalchemy import Connection, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.audit import Action, Actor, note
from app.deployments.events import DeploymentQueued
from app.deployments.model import DeploymentRecord
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.errors import PortalError
from app.ids import new_id
from app.operations.create import CREATE
from app.operations.operation import Operation
from app.operations.password import PASSWORD
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.operations.table import operation_of
from app.security.vault import Vault, fingerprint, new_manage_key, new_password
from app.stacks import volumes
from app.stacks.model import STANDING, StackRecord, stack_state
from app.stacks.names import DeploymentRequest, suggest_names
from app.stacks.ownership import must_be_unchanged, must_match
from app.stacks.plan import Plan, declare
from app.stacks.queries import Records
from app.stacks.quotas import Quotas, count_stacks
from app.stacks.requester import Requester
from app.stacks.templates import StackSecrets, Template
from app.stacks.volumes import KeptFiles
from app.store import schema
from app.store.engine import Database

log = structlog.get_logger()

_IDEMPOTENCY_LIVES = timedelta(hours=24)
# A creation that ends in the very moment makes room for a removal; others may be faster than ours.
_TRIES = 5
VolumeChoice = Literal["erase", "keep"]
NAME_REFUSED: Final = frozenset({"name_taken", "name_cleaning_up", "name_kept"})
"""Codes that say that somebody else has a name; others near it may be free."""
FILES_KEPT: Final = "files_kept"
"""The warning of a plan that takes up the files of an earlier stack."""


@dataclass(frozen=True)
class Accepted:
    """A request that was taken in, or one taken in before under the same Idempotency-Key. manage_key is a secret."""

    deployment_id: str
    name: str
    url: str
    manage_key: str = field(repr=False)


@dataclass(frozen=True)
class Availability:
    """Whether a name is free. problem: why not; files_kept: the requester kept files of it, which will be used."""

    problem: PortalError | None = None
    files_kept: bool = False


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
        requester: Requester,
        *,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Record a new stack and queue its deployment.

        Raises PortalError: `name_taken`, `name_cleaning_up`, `name_kept`, `idempotency_key_reused`, `dokploy_away`, and
        where there are too many `stacks_full`, `stacks_of_owner`, `in_flight_full`, `in_flight_of_owner`.
        """
        accepted = Accepted(new_id(), plan.name, plan.url, new_manage_key())
        body_hash = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
        key_hash = requester.fingerprint_of(idempotency_key) if idempotency_key else None

        stacks = 0

        def take_in(connection: Connection) -> Accepted:
            nonlocal stacks
            # First of all: a replay that waits for the request it repeats is not refused for that one's place.
            self._quotas.take_turns(self._database, connection)
            if key_hash and (replay := self._replay(connection, key_hash, body_hash)):
                return replay
            self._admit()
            owner = self._insert_stack(connection, accepted, plan, template, requester, declare(request, template))
            # After the insert, which says that a name is taken: that is the better reason.
            self._quotas.check_stack(connection, owner, is_operator=requester.is_operator)
            stacks = count_stacks(connection)
            note(
                connection,
                requester.actor,
                Action(CREATE.action),
                stack=plan.name,
                deployment_id=accepted.deployment_id,
            )
            if key_hash:
                connection.execute(
                    insert(schema.idempotency).values(
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
        table = schema.idempotency
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
        requester: Requester,
        declared: Mapping[str, Any],
    ) -> str:
        """Add a stack with its deployment, and say whose it is; "" for one who has no other."""
        stack_id, now, frozen = new_id(), _now(), plan.to_json()
        connection.execute(
            insert(schema.stack).values(
                id=stack_id,
                name=plan.name,
                owner=requester.owner or f"key:{stack_id}",
                template=plan.template,
                plan=frozen,
                manage_key_hash=fingerprint(accepted.manage_key),
                secrets=StackSecrets(new_password(), dict(template.variables)).encrypt(self._vault),
                created_at=now,
            )
        )
        if kept := self._take_up_files(connection, plan, requester):
            # It is the same owner's, also where that was shown by the key of his stack before.
            plan = replace(plan, warnings=(*plan.warnings, FILES_KEPT))
            frozen = plan.to_json()
            again = update(schema.stack).where(schema.stack.c.id == stack_id)
            connection.execute(again.values(owner=kept.owner, plan=frozen))
        connection.execute(
            insert(schema.resource),
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
            operation=CREATE,
            requester=requester,
            options={"declared": declared},
        )
        return kept.owner if kept else requester.owner

    @staticmethod
    def _take_up_files(connection: Connection, plan: Plan, requester: Requester) -> KeptFiles | None:
        """Find files that are kept under the volume's name. Raises PortalError `name_kept` where they are not his.

        Looked for last: now that the name is held, no removal can end, and no erasing begin, unseen.
        """
        row = connection.execute(volumes.of_volumes([plan.volume])).first()
        if row is None:
            return None
        kept = volumes.kept_of_row(row)
        if not requester.may_use(kept):
            raise PortalError("name_kept", field="name", name=plan.name)
        return kept

    def _insert_deployment(
        self,
        connection: Connection,
        deployment_id: str,
        stack_id: str,
        *,
        name: str,
        plan: Mapping[str, Any],
        operation: Operation,
        requester: Requester,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        now = _now()
        connection.execute(
            insert(schema.deployment).values(
                id=deployment_id,
                stack_id=stack_id,
                name=name,
                kind=operation.kind,
                trigger=requester.trigger,
                actor=requester.actor.id,
                actor_email=requester.actor.email,
                actor_role=requester.actor.role,
                actor_means=requester.actor.means,
                options=dict(options or {}),
                plan=dict(plan),
                created_at=now,
                status=Status.QUEUED,
                leftovers=[],
                last_event=1,
            )
        )
        connection.execute(
            insert(schema.step),
            [
                {
                    "deployment_id": deployment_id,
                    "name": step,
                    "place": place,
                    "state": StepState.PENDING,
                    "attempts": 0,
                    "output": {},
                }
                for place, step in enumerate(operation.steps)
            ],
        )
        queued = DeploymentQueued(name=name, kind=operation.kind)
        connection.execute(
            insert(schema.event).values(
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

    async def look(self, name: str, template: Template, requester: Requester) -> Availability:
        """Whether a name can be had now, before anything is asked for."""
        if await self._records.held([name]):
            return Availability(await self.taken(name))
        volume = template.volume_of(name)
        kept = (await self._records.kept_of([volume])).get(volume)
        if kept is None:
            return Availability()
        if requester.may_use(kept):
            return Availability(files_kept=True)
        return Availability(PortalError("name_kept", field="name", name=name))

    async def refusals(self, requester: Requester) -> list[PortalError]:
        """Why a new stack would be one too many at this moment, if it would; for whoever only wants to know."""
        return await self._database.read(
            lambda connection: list(
                self._quotas.refusals(connection, requester.owner, is_operator=requester.is_operator, added=False)
            )
        )

    async def suggest(self, name: str, reserved: tuple[str, ...], template: Template) -> list[str]:
        """Up to three names near a taken one that are free."""
        wanted = suggest_names(name)
        not_free = await self._records.held(wanted) | {word.lower() for word in reserved}
        kept = await self._records.kept_of([template.volume_of(word) for word in wanted])
        free = (word for word in wanted if word not in not_free and template.volume_of(word) not in kept)
        return list(free)[:3]

    async def remove(self, stack: StackRecord, volume: VolumeChoice | None, requester: Requester) -> str:
        """Queue the removal of a stack and return its deployment's id.

        volume: what becomes of its files; None: what whoever removed it last has chosen. During its creation that run
        is cancelled instead, and during a removal with the same choice that one is returned. Raises PortalError:
        `stack_busy` while something else changes the stack, `stack_not_found` once it is gone or somebody else's.
        """
        deployment_id = new_id()

        def take_in(connection: Connection) -> None:
            self._insert_deployment(
                connection,
                deployment_id,
                stack.id,
                name=stack.name,
                plan=stack.plan,
                operation=REMOVE,
                requester=requester,
                options={"volume": volume},
            )
            self._must_be_there(connection, stack, requester)
            if volume is None:
                table = schema.deployment
                chosen = {"volume": self._chosen_before(connection, stack.id, deployment_id)}
                connection.execute(update(table).where(table.c.id == deployment_id).values(options=chosen))
            note(connection, requester.actor, Action(REMOVE.action), stack=stack.name, deployment_id=deployment_id)
            self._database.notify(connection, "queued")

        for _ in range(_TRIES):
            try:
                await self._database.write(take_in)
            except IntegrityError:
                newest = await self._records.newest_deployment(stack.id)
                if newest is None:
                    raise PortalError("stack_not_found", name=stack.name) from None
                must_match(stack, newest, requester.actor)
                if newest.operation.ends_stack and volume in {None, newest.options.get("volume")}:
                    return newest.id
                # An undo erases the volume, so that a creation cannot be left with it.
                if not newest.operation.begins_stack or volume == "keep":
                    raise PortalError("stack_busy", name=stack.name) from None
                if await self.cancel(newest, requester.actor):
                    return newest.id
                # It has ended in this very moment, so that there is a stack to remove.
            else:
                self._wake("queued")
                return deployment_id
        raise PortalError("stack_busy", name=stack.name)

    async def erase(self, kept: KeptFiles, requester: Requester) -> str:
        """Queue the erasing of what was kept of a stack that is gone, and return its deployment's id.

        It is a removal as any: the stack holds its name until the files are gone, and were seen to be. Asking twice
        gives the same one. Raises PortalError: `stack_not_found` once nothing is kept for him, `name_taken` or
        `name_cleaning_up` where somebody holds the name by now.
        """
        deployment_id, stack = new_id(), schema.stack

        def take_in(connection: Connection) -> None:
            plan = connection.execute(select(stack.c.plan).where(stack.c.id == kept.stack_id)).scalar_one()
            self._insert_deployment(
                connection,
                deployment_id,
                kept.stack_id,
                name=kept.name,
                plan=plan,
                operation=REMOVE,
                requester=requester,
                options={"volume": "erase"},
            )
            connection.execute(update(stack).where(stack.c.id == kept.stack_id).values(removed_at=None))
            must_be_unchanged(connection, kept, requester.actor)
            if not volumes.is_still_kept(connection, kept):
                raise PortalError("stack_not_found", name=kept.name)
            note(connection, requester.actor, Action.ERASE_KEPT, stack=kept.name, deployment_id=deployment_id)
            self._database.notify(connection, "queued")

        try:
            await self._database.write(take_in)
        except IntegrityError:
            newest = await self._records.newest_deployment(kept.stack_id)
            if newest is not None and newest.conclusion is None:
                must_match(kept, newest, requester.actor)
                return newest.id
            raise await self.taken(kept.name) from None
        self._wake("queued")
        return deployment_id

    @classmethod
    def _chosen_before(cls, connection: Connection, stack_id: str, deployment_id: str) -> str:
        """Do with the volume what the removal before was told; without one, erase only what a failed creation created.

        The volume of a stack that once stood holds somebody's files, which nobody has asked to erase.
        """
        before = cls._before(connection, stack_id, deployment_id)
        if operation_of(before.kind).ends_stack:
            return str(before.options.get("volume", "erase"))
        deployment, resource = schema.deployment.c, schema.resource.c
        once_stood = select(deployment.id).where(
            deployment.stack_id == stack_id, deployment.conclusion == Conclusion.SUCCEEDED
        )
        if connection.execute(once_stood.limit(1)).first() is not None:
            return "keep"
        state = connection.scalar(
            select(resource.state).where(resource.stack_id == stack_id, resource.kind == "volume")
        )
        return "keep" if state == ResourceState.KEPT else "erase"

    @staticmethod
    def _before(connection: Connection, stack_id: str, deployment_id: str) -> Any:
        """The stack's deployment before one that is its only open one, so that no other can come between."""
        table = schema.deployment.c
        return connection.execute(
            select(table.kind, table.options, table.conclusion)
            .where(table.stack_id == stack_id, table.id != deployment_id)
            .order_by(table.created_at.desc(), table.id.desc())
            .limit(1)
        ).one()

    async def redeploy(self, stack: StackRecord, requester: Requester, *, changes_password: bool = False) -> str:
        """Queue what makes a stack again what its plan says, and return the deployment's id.

        changes_password: with a new password; a change that was not finished is gone on with in either case. Raises
        PortalError: `stack_busy` while something else changes the stack, `name_cleaning_up` where it is to go,
        `stack_not_found` once it is gone or somebody else's, `dokploy_away`, `in_flight_full`, `in_flight_of_owner`.
        """
        deployment_id = new_id()
        operation = PASSWORD if changes_password else REDEPLOY

        def take_in(connection: Connection) -> None:
            self._quotas.take_turns(self._database, connection)
            self._admit()
            self._insert_deployment(
                connection,
                deployment_id,
                stack.id,
                name=stack.name,
                plan=stack.plan,
                operation=operation,
                requester=requester,
            )
            self._must_be_there(connection, stack, requester)
            before = self._before(connection, stack.id, deployment_id)
            if stack_state(before.kind, before.conclusion, undoing=False) not in STANDING:
                raise PortalError("name_cleaning_up", name=stack.name)
            self._quotas.check_deployment(connection, stack.owner, is_operator=requester.is_operator)
            if self._prepare_password(connection, stack, anew=changes_password):
                table = schema.deployment
                options = {"changes_password": True}
                connection.execute(update(table).where(table.c.id == deployment_id).values(options=options))
            note(connection, requester.actor, Action(operation.action), stack=stack.name, deployment_id=deployment_id)
            self._database.notify(connection, "queued")

        try:
            await self._database.write(take_in)
        except IntegrityError:
            raise PortalError("stack_busy", name=stack.name) from None
        self._wake("queued")
        return deployment_id

    def _prepare_password(self, connection: Connection, stack: StackRecord, *, anew: bool) -> bool:
        """Have a password that the next container is started with; False where it stays as it is.

        One that was made before is never dropped for another: a container may have been started with it unseen.
        """
        table = schema.stack
        row = connection.execute(select(table.c.secrets, table.c.next_secrets).where(table.c.id == stack.id)).one()
        if row.next_secrets is not None:
            return True
        if anew:
            secrets = StackSecrets.decrypt(row.secrets, self._vault).with_password(new_password())
            sealed = secrets.encrypt(self._vault)
            connection.execute(update(table).where(table.c.id == stack.id).values(next_secrets=sealed))
        return anew

    @staticmethod
    def _must_be_there(connection: Connection, stack: StackRecord, requester: Requester) -> None:
        """Look last: now that a run is the stack's only open one, nobody else can end the stack.

        Its name, and with it the volume's, may be somebody else's by now, and so may the stack.
        """
        if not must_be_unchanged(connection, stack, requester.actor):
            raise PortalError("stack_not_found", name=stack.name)

    async def cancel(self, deployment: DeploymentRecord, actor: Actor) -> bool:
        """Ask for a deployment to be cancelled; False where it is already over.

        What is cancelled does not succeed any more. Asking twice, or while it is being undone, changes nothing. Raises
        PortalError `stack_not_found` where the stack is somebody else's by now.
        """
        table = schema.deployment
        is_open = and_(table.c.id == deployment.id, table.c.status != Status.COMPLETED)
        new = and_(is_open, table.c.undoing.is_(False), table.c.cancel_requested_at.is_(None))

        def ask_to_cancel(connection: Connection) -> bool:
            ask = update(table).where(new).values(cancel_requested_at=_now()).returning(table.c.name)
            asked = connection.scalar(ask)
            must_be_unchanged(connection, deployment, actor)
            if asked is not None:
                note(connection, actor, Action.CANCEL, stack=asked, deployment_id=deployment.id)
            # Also for one that was asked for before: whoever asks again may have been told nothing.
            self._database.notify(connection, "cancel")
            return asked is not None or connection.execute(select(table.c.id).where(is_open)).first() is not None

        is_under_way = await self._database.write(ask_to_cancel)
        self._wake("cancel")
        return is_under_way


def is_cleaning_up(newest: DeploymentRecord) -> bool:
    """Whether the newest deployment of a stack leads, or has led, to its end rather than to its running."""
    if newest.operation.ends_stack or newest.undoing:
        return True
    return newest.status is Status.COMPLETED and any(each.removed_at is None for each in newest.leftovers)


def _now() -> datetime:
    return datetime.now(UTC)
