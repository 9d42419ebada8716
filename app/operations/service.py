"""The operations on stacks as callers request them: each is submitted in one way, and then belongs to a runner."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog
from sqlalchemy import Connection, and_, select, update
from sqlalchemy.exc import IntegrityError

from app.audit import PORTAL, Action, Actor, note
from app.config.settings import Settings
from app.deployments.model import PORTAL_TRIGGER, DeploymentRecord
from app.deployments.states import Status
from app.errors import PortalError
from app.ids import new_id
from app.operations.checks import chosen_before, deployment_before, must_be_there
from app.operations.create import CREATE
from app.operations.idempotency import IdempotencyKey
from app.operations.new_stack import insert_stack
from app.operations.operation import Operation
from app.operations.password import PASSWORD
from app.operations.remove import REMOVE
from app.operations.retries import queue_again
from app.operations.submission import Conflict, FactsChanged, Subject, Submission, Submissions
from app.security.vault import Vault, new_manage_key, new_password
from app.stacks import volumes
from app.stacks.availability import Names
from app.stacks.model import STANDING, StackRecord, stack_state
from app.stacks.names import DeploymentRequest
from app.stacks.ownership import must_be_unchanged, must_match
from app.stacks.plan import declare, make_plan
from app.stacks.queries import Records
from app.stacks.quotas import Quotas
from app.stacks.requester import Requester
from app.stacks.templates import StackSecrets, Template
from app.stacks.volumes import KeptFiles
from app.store import schema
from app.store.engine import Database

log = structlog.get_logger()

# What was read before may change until it is written; others may be faster than ours.
_TRIES: Final = 5
VolumeChoice = Literal["erase", "keep"]


@dataclass(frozen=True)
class Accepted:
    """A request that was recorded, or one recorded before under the same Idempotency-Key. manage_key is a secret."""

    deployment_id: str
    name: str
    url: str
    manage_key: str = field(repr=False)


class Operations:
    """Submits operations. What it records belongs to a runner from then on."""

    def __init__(
        self,
        database: Database,
        records: Records,
        vault: Vault,
        settings: Settings,
        wake: Callable[[str], None],
        *,
        admit: Callable[[], None] = lambda: None,
        quotas: Quotas | None = None,
    ) -> None:
        """`wake` tells this process's runner: `queued`, or `cancel`; `admit` raises while nothing is to be begun.

        `quotas`: how much there may be at once; None: as much as is requested.
        """
        self._database = database
        self._records = records
        self._names = Names(records)
        self._vault = vault
        self._settings = settings
        self._wake = wake
        self._quotas = quotas or Quotas()
        self._submissions = Submissions(database, vault, self._quotas, admit=admit, wake=wake)

    # What begins a stack

    async def create(
        self,
        request: DeploymentRequest,
        template: Template,
        requester: Requester,
        *,
        idempotency_key: str | None = None,
    ) -> Accepted:
        """Record a new stack and queue its deployment.

        Raises PortalError: what `make_plan` raises, `name_taken`, `name_cleaning_up`, `name_kept`,
        `idempotency_key_reused`, `dokploy_away`, and where there are too many `stacks_full`, `stacks_of_owner`,
        `in_flight_full`, `in_flight_of_owner`.
        """
        key = None
        if idempotency_key is not None:
            body_hash = hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()
            key = IdempotencyKey(requester.fingerprint_of(idempotency_key), body_hash)
        for _ in range(_TRIES):
            try:
                return await self._create(request, template, requester, key)
            except FactsChanged:
                continue
        raise PortalError("name_cleaning_up", field="name", name=request.name)

    async def _create(
        self, request: DeploymentRequest, template: Template, requester: Requester, key: IdempotencyKey | None
    ) -> Accepted:
        volume = template.volume_of(request.name)
        kept = (await self._records.kept_of([volume])).get(volume)
        files_kept = kept is not None and requester.may_use(kept)
        plan = make_plan(request, template, self._settings, files_kept=files_kept)
        # Kept files are the same owner's, also where that was shown by the key of the stack that had them.
        owner = kept.owner if kept is not None and files_kept else requester.owner
        accepted = Accepted(new_id(), plan.name, plan.url, new_manage_key())
        stacks = 0

        def begin_stack(connection: Connection) -> Subject:
            stack_id = insert_stack(connection, self._vault, plan, template, owner, accepted.manage_key)
            options = {"declared": declare(request, template)}
            return Subject(stack_id, plan.name, plan.to_json(), options)

        def check(connection: Connection) -> None:
            nonlocal stacks
            # Now that the name is held, no removal can end, and no erasing begin, unseen.
            now = next(iter(volumes.kept_of(connection, [volume])), None)
            if now is not None and not requester.may_use(now):
                raise PortalError("name_kept", field="name", name=plan.name)
            if now != kept:
                raise FactsChanged
            # After the insert, which says that a name is taken: that is the better reason.
            stacks = self._quotas.check_stack(connection, owner, is_operator=requester.is_operator)

        submission = Submission(
            operation=CREATE,
            requester=requester,
            subject=begin_stack,
            check=check,
            action=Action(CREATE.action),
            key=key,
            answer=json.dumps(asdict(accepted)),
            deployment_id=accepted.deployment_id,
        )
        try:
            answer = await self._submissions.submit(submission)
        except Conflict:
            # Somebody else was faster: with the same key it is the same answer, otherwise the name is theirs.
            answer = await self._submissions.replay(key) if key else None
            if answer is None:
                raise await self._names.taken(plan.name) from None
        if answer is not None:
            return Accepted(**json.loads(answer))
        if stacks == self._quotas.line:
            log.warning("stacks_nearly_full", stacks=stacks, limit=self._quotas.stacks)
        return accepted

    # What a stack stands before and after

    async def change(self, operation: Operation, stack: StackRecord, requester: Requester) -> str:
        """Queue an operation on a stack that stands, and return its deployment's id.

        A change of the password that was not finished is gone on with by whatever starts a container next. Raises
        PortalError: `stack_busy` while something else changes the stack, `name_cleaning_up` where it is to go,
        `stack_not_found` once it is gone or somebody else's, `dokploy_away`, `in_flight_full`, `in_flight_of_owner`.
        """
        submission: Submission

        def check(connection: Connection) -> Mapping[str, Any] | None:
            must_be_there(connection, stack, requester)
            before = deployment_before(connection, stack.id, submission.deployment_id)
            if operation.needs_running_stack and (
                stack_state(before.kind, before.conclusion, undoing=False) not in STANDING
            ):
                raise PortalError("name_cleaning_up", name=stack.name)
            if operation.counts_as_in_flight:
                self._quotas.check_deployment(connection, stack.owner, is_operator=requester.is_operator)
            if operation.changes_container and self._prepare_password(connection, stack, anew=operation is PASSWORD):
                return {"changes_password": True}
            return None

        submission = Submission(
            operation=operation,
            requester=requester,
            subject=lambda _: Subject(stack.id, stack.name, stack.plan),
            check=check,
            action=Action(operation.action),
        )
        try:
            await self._submissions.submit(submission)
        except Conflict:
            raise PortalError("stack_busy", name=stack.name) from None
        return submission.deployment_id

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

    # What ends a stack

    async def remove(self, stack: StackRecord, volume: VolumeChoice | None, requester: Requester) -> str:
        """Queue the removal of a stack and return its deployment's id.

        volume: what becomes of its files; None: what whoever removed it last has chosen. During its creation that run
        is cancelled instead, and during a removal with the same choice that one is returned. Raises PortalError:
        `stack_busy` while something else changes the stack, `stack_not_found` once it is gone or somebody else's.
        """
        submission: Submission

        def check(connection: Connection) -> Mapping[str, Any] | None:
            must_be_there(connection, stack, requester)
            if volume is not None:
                return None
            return {"volume": chosen_before(connection, stack.id, submission.deployment_id)}

        submission = Submission(
            operation=REMOVE,
            requester=requester,
            subject=lambda _: Subject(stack.id, stack.name, stack.plan, {"volume": volume}),
            check=check,
            action=Action(REMOVE.action),
        )
        for _ in range(_TRIES):
            try:
                await self._submissions.submit(submission)
            except Conflict:
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
                return submission.deployment_id
        raise PortalError("stack_busy", name=stack.name)

    async def retry_removal(self, stack: StackRecord) -> str:
        """Queue another attempt to remove what is left of a stack, and return its deployment's id.

        It is an attempt of the portal's own removal where that was tried before, so that many attempts are one
        deployment. Raises PortalError as `remove` does.
        """
        newest = await self._records.newest_deployment(stack.id)
        if newest is not None and newest.operation.ends_stack and newest.trigger == PORTAL_TRIGGER:
            try:
                await self._database.write(lambda connection: queue_again(self._database, connection, stack, newest.id))
            except (IntegrityError, FactsChanged):
                raise PortalError("stack_busy", name=stack.name) from None
            self._wake("queued")
            return newest.id
        return await self.remove(stack, None, Requester(stack.owner, PORTAL, PORTAL_TRIGGER))

    async def erase(self, kept: KeptFiles, requester: Requester) -> str:
        """Queue the erasing of what was kept of a stack that is gone, and return its deployment's id.

        It is a removal as any: the stack holds its name until the files are gone, and were seen to be. Asking twice
        gives the same one. Raises PortalError: `stack_not_found` once nothing is kept for the requester, `name_taken`
        or `name_cleaning_up` where somebody holds the name by now.
        """

        def hold_the_name(connection: Connection) -> Subject:
            stack = schema.stack
            row = stack.c.id == kept.stack_id
            plan = connection.execute(select(stack.c.plan).where(row)).scalar_one()
            connection.execute(update(stack).where(row).values(removed_at=None))
            return Subject(kept.stack_id, kept.name, plan, {"volume": "erase"})

        def check(connection: Connection) -> None:
            must_be_unchanged(connection, kept, requester.actor)
            if not volumes.is_still_kept(connection, kept):
                raise PortalError("stack_not_found", name=kept.name)

        submission = Submission(
            operation=REMOVE,
            requester=requester,
            subject=hold_the_name,
            check=check,
            action=Action.ERASE_KEPT,
        )
        try:
            await self._submissions.submit(submission)
        except Conflict:
            newest = await self._records.newest_deployment(kept.stack_id)
            if newest is not None and newest.conclusion is None:
                must_match(kept, newest, requester.actor)
                return newest.id
            raise await self._names.taken(kept.name) from None
        return submission.deployment_id

    async def cancel(self, deployment: DeploymentRecord, actor: Actor) -> bool:
        """Ask for a deployment to be cancelled; False where it is already over, or its operation never can be.

        What is cancelled does not succeed any more. Asking twice, or while it is being undone, changes nothing. Raises
        PortalError `stack_not_found` where the stack is somebody else's by now.
        """
        table = schema.deployment
        if not deployment.operation.can_be_canceled:
            return False
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

    async def cancel_or_refuse(self, deployment: DeploymentRecord, actor: Actor) -> None:
        """Cancel for a user. Raises PortalError: `removal_goes_on`, `deployment_over`, and as `cancel`."""
        if not deployment.operation.can_be_canceled and deployment.conclusion is None:
            raise PortalError("removal_goes_on")
        if not await self.cancel(deployment, actor):
            raise PortalError("deployment_over")

    # What only looks

    async def refusals(self, requester: Requester) -> list[PortalError]:
        """Why a new stack would be one too many at this moment, if it would; for whoever only wants to know."""
        return await self._database.read(
            lambda connection: list(
                self._quotas.refusals(connection, requester.owner, is_operator=requester.is_operator)
            )
        )


def _now() -> datetime:
    return datetime.now(UTC)
