"""What is old enough to be deleted, and the transactions that delete it: small ones, each whole in itself.

Each says how many rows of each kind it deleted, and nothing once there is nothing more. Whatever stops between two of
them leaves a record that is right, and less of it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Exists,
    Table,
    and_,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)

from app.audit import PORTAL, Action, note
from app.deployments.states import Conclusion, Status
from app.operations.table import kinds
from app.stacks.volumes import keepers, needed_for_files
from app.store import schema
from app.store.dialects import Moment, database_now

Counts = Counter[str]

BATCH: Final = 500
"""About how many rows one transaction deletes."""

# About what one deployment has besides its events.
_OTHER_ROWS: Final = 10
# How many stacks are looked at together; most of them keep what they have.
_STACKS: Final = 100
_STACKS_IN_BATCH: Final = BATCH // (2 * _OTHER_ROWS)
_DAY_SECONDS: Final = 86_400.0


def delete_older(connection: Connection, column: Column[Any], before: datetime) -> Counts:
    """Delete rows of a table that nothing refers to, by a moment in them."""
    table: Table = column.table
    (key,) = table.primary_key
    old = select(key).where(column < before).order_by(column).limit(BATCH).with_for_update(skip_locked=True)
    # Said again: what somebody has changed meanwhile is looked at as it is now.
    return Counter({table.name: connection.execute(delete(table).where(key.in_(old), column < before)).rowcount})


def delete_accounts(connection: Connection, before: datetime) -> Counts:
    """Delete accounts of people who were not seen for long and own nothing."""
    account = schema.account.c
    owner = literal("account:") + account.id
    owns_nothing = and_(
        ~exists().where(schema.stack.c.owner == owner),
        ~exists().where(schema.token.c.owner == owner),
        ~exists().where(schema.session.c.account_id == account.id),
    )
    old = (
        select(account.id)
        .where(account.seen_at < before, owns_nothing)
        .order_by(account.seen_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    gone = delete(schema.account).where(account.id.in_(old), account.seen_at < before)
    return Counter(account=connection.execute(gone).rowcount)


def erase_secrets(connection: Connection) -> Counts:
    """Erase the secrets of removed stacks that an older portal did not erase."""
    stack = schema.stack.c
    left = select(stack.id).where(text(schema.UNERASED)).order_by(stack.id).limit(BATCH).with_for_update()
    erased = update(schema.stack).where(stack.id.in_(left), stack.removed_at.is_not(None))
    return Counter(secrets=connection.execute(erased.values(secrets=b"", next_secrets=None)).rowcount)


# Deployments


def trim_logs(connection: Connection, before: datetime, at: datetime) -> Counts:
    """Delete all events but the last of deployments that are over; the last one tells how they ended.

    Not of a stack of which something is left: its removal may be queued again, and goes on with its log.
    """
    deployment, event = schema.deployment.c, schema.event.c
    old = (
        select(deployment.id, deployment.last_event)
        .where(
            deployment.log_expired_at.is_(None), deployment.concluded_at < before, ~_has_leftovers(deployment.stack_id)
        )
        .order_by(deployment.concluded_at)
        .limit(BATCH // _OTHER_ROWS + 1)
        .with_for_update(skip_locked=True, of=schema.deployment)
    )
    some = _in_batch(connection.execute(old).all())
    if not some:
        return Counter()
    ids = [row.id for row in some]
    last = select(deployment.last_event).where(deployment.id == event.deployment_id).scalar_subquery()
    gone = delete(schema.event).where(event.deployment_id.in_(ids), event.n < last)
    events = connection.execute(gone).rowcount
    connection.execute(update(schema.deployment).where(deployment.id.in_(ids)).values(log_expired_at=at))
    return Counter(log=len(ids), event=events)


def standing_stacks(connection: Connection, after: str) -> list[Any]:
    """Read some stacks that hold a name, in the order of their names. after: only those that follow this name."""
    stack = schema.stack.c
    query = select(stack.id, stack.name).where(stack.removed_at.is_(None), stack.name > after)
    return list(connection.execute(query.order_by(stack.name).limit(_STACKS)))


def delete_deployments(connection: Connection, stack_ids: Collection[str], before: datetime) -> Counts:
    """Delete deployments of some stacks that stand.

    Not what a stack began with, not the newest, nor the newest that succeeded, which say how the stack is; not the
    newest with each of Dokploy's names of the application, which a removal asks for containers by; no verb that only a
    newer portal knows; and none while something changes the stack, or is left of it.
    """
    deployment, leftover = schema.deployment.c, schema.leftover.c
    other, step, steps_of_other = schema.deployment.alias(), schema.step.alias(), schema.step.alias()
    app_name = step.c.output["app_name"].as_string()
    same = other.c.stack_id == deployment.stack_id
    is_newer = or_(
        other.c.created_at > deployment.created_at,
        and_(other.c.created_at == deployment.created_at, other.c.id > deployment.id),
    )
    same_name_again = (
        select(other.c.id)
        .join(steps_of_other, steps_of_other.c.deployment_id == other.c.id)
        .where(
            same,
            is_newer,
            steps_of_other.c.name == step.c.name,
            steps_of_other.c.output["app_name"].as_string() == app_name,
        )
        .correlate(schema.deployment, step)
        .exists()
    )
    last_with_its_name = exists(
        select(step.c.deployment_id).where(
            step.c.deployment_id == deployment.id,
            step.c.name == "application",
            app_name.is_not(None),
            ~same_name_again,
        )
    )
    old = (
        select(deployment.id, deployment.last_event, deployment.log_expired_at)
        .where(
            deployment.stack_id.in_(stack_ids),
            deployment.status == Status.COMPLETED,
            deployment.concluded_at < before,
            deployment.kind.in_(kinds(lambda each: not each.begins_stack)),
            exists(select(other.c.id).where(same, is_newer)),
            or_(
                deployment.conclusion != Conclusion.SUCCEEDED,
                exists(select(other.c.id).where(same, is_newer, other.c.conclusion == Conclusion.SUCCEEDED)),
            ),
            ~last_with_its_name,
            ~exists(select(other.c.id).where(same, other.c.status != Status.COMPLETED)),
            ~_has_leftovers(deployment.stack_id),
            # Also one that is removed by now refers to its deployment.
            ~exists().where(leftover.deployment_id == deployment.id),
        )
        .limit(BATCH // _OTHER_ROWS + 1)
        .with_for_update(skip_locked=True)
    )
    return _delete_runs(connection, [row.id for row in _in_batch(connection.execute(old).all())])


def _has_leftovers(stack_id: ColumnElement[str]) -> Exists:
    leftover = schema.leftover.c
    return exists().where(leftover.stack_id == stack_id, leftover.removed_at.is_(None))


def _in_batch(rows: Sequence[Any]) -> Sequence[Any]:
    """Take as many deployments as have a batch of rows together, but one at least."""
    size = 0
    for place, row in enumerate(rows, 1):
        size += _OTHER_ROWS + (0 if getattr(row, "log_expired_at", None) else row.last_event)
        if size >= BATCH:
            return rows[:place]
    return rows


def _delete_runs(connection: Connection, ids: Collection[str]) -> Counts:
    """Delete deployments with all that is theirs."""
    if not ids:
        return Counter()
    done = Counter[str]()
    for table in (schema.idempotency, schema.event, schema.step):
        done[table.name] = connection.execute(delete(table).where(table.c.deployment_id.in_(ids))).rowcount
    gone = delete(schema.deployment).where(schema.deployment.c.id.in_(ids))
    done["deployment"] = connection.execute(gone).rowcount
    return done


# Stacks


def removed_stacks(
    connection: Connection, before: datetime, after: tuple[datetime, str] | None
) -> tuple[list[str], tuple[datetime, str] | None]:
    """Read some stacks that were removed before a moment, oldest first, and left no files; and where to go on.

    after: where those before ended. The second that is returned is None once there are no more.
    """
    stack = schema.stack.c
    query = select(stack.id, stack.removed_at).where(stack.removed_at.is_not(None), stack.removed_at < before)
    if after is not None:
        query = query.where(tuple_(stack.removed_at, stack.id) > tuple_(literal(after[0], Moment), literal(after[1])))
    rows = connection.execute(query.order_by(stack.removed_at, stack.id).limit(_STACKS)).all()
    if not rows:
        return [], None
    kept = keepers(connection, [row.id for row in rows])
    return [row.id for row in rows if row.id not in kept], (rows[-1].removed_at, rows[-1].id)


def delete_stacks(connection: Connection, ids: Sequence[str], before: datetime) -> tuple[Counts, Sequence[str]]:
    """Delete removed stacks with all that is theirs; return what was deleted, and those that it did not come to.

    Not a stack that has left files, nor one that says that those of another are gone; nor one whose files are being
    erased at this moment, of which something is left, or which something changes.
    """
    stack, deployment = schema.stack.c, schema.deployment.c
    some, rest = ids[:_STACKS_IN_BATCH], ids[_STACKS_IN_BATCH:]
    is_changing = exists().where(deployment.stack_id == stack.id, deployment.status != Status.COMPLETED)
    old = select(stack.id).where(stack.id.in_(some), stack.removed_at < before, ~_has_leftovers(stack.id), ~is_changing)
    going = set(connection.scalars(old.with_for_update(skip_locked=True))) - needed_for_files(connection, some)
    if not going:
        return Counter(), rest
    of_them = select(deployment.id, deployment.last_event, deployment.log_expired_at).where(
        deployment.stack_id.in_(going)
    )
    runs = connection.execute(of_them.order_by(deployment.created_at, deployment.id)).all()
    batch = _in_batch(runs)
    done = _delete_of(connection, schema.leftover, going) + _delete_runs(connection, [row.id for row in batch])
    if len(batch) < len(runs):
        return done, ids
    for table in (schema.offer, schema.resource):
        done += _delete_of(connection, table, going)
    done["stack"] = connection.execute(delete(schema.stack).where(stack.id.in_(going))).rowcount
    return done, rest


def _delete_of(connection: Connection, table: Table, stack_ids: Collection[str]) -> Counts:
    return Counter({table.name: connection.execute(delete(table).where(table.c.stack_id.in_(stack_ids))).rowcount})


# The audit trail


def count_entries(connection: Connection, before: datetime) -> int:
    """Count entries before a moment."""
    return int(connection.scalar(select(func.count()).where(schema.audit.c.at < before)) or 0)


def advance_audit(connection: Connection, before: datetime, entries: int) -> None:
    """Allow entries before a moment to be deleted, at most once a day, and add to the trail how many those are."""
    table = schema.retention.c
    advanced = (
        update(schema.retention)
        .where(
            table.what == "audit",
            table.swept_at <= database_now() - _DAY_SECONDS,
            or_(table.before.is_(None), table.before < before),
        )
        .values(before=before, swept_at=database_now())
    )
    if connection.execute(advanced).rowcount:
        note(connection, PORTAL, Action.DELETE_OLD, subject=f"{entries} before {before:%Y-%m-%d %H:%M} UTC")


def audit_before(connection: Connection) -> datetime | None:
    """Up to when entries may be deleted; None while none may."""
    table = schema.retention.c
    found: datetime | None = connection.scalar(select(table.before).where(table.what == "audit"))
    return found
