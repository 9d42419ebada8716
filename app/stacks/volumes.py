"""Kept volumes of removed stacks: which, whose, and since when."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, exists, literal, or_, select

from app.deployments.states import ResourceState
from app.store import schema
from app.store.paging import Order

_stack, _volume = schema.stack, schema.resource
_other, _others = schema.stack.alias(), schema.resource.alias()

LAST_FIRST: Final = (_stack.c.removed_at.desc(), _stack.c.id.desc())
# A volume was marked as kept just before its stack was gone: of all there is an index of the one, of an owner's of the
# other.
OF_ALL: Final = Order("kept-files", (_volume.c.changed_at, _volume.c.stack_id))
OF_SOME: Final = Order("kept-files-of", (_stack.c.removed_at, _stack.c.id))


@dataclass(frozen=True)
class KeptFiles:
    """A volume that was kept when its stack was removed. owner and manage_key_hash: whose that stack was."""

    stack_id: str
    name: str
    volume: str
    owner: str
    manage_key_hash: str = field(repr=False)
    since: datetime


def kept_files(*conditions: Any) -> Select[Any]:
    """Select what is kept; rows are for `kept_of_row`.

    Of several stacks that had a volume in turn the last one says what became of it. One that never came as far as the
    volume says nothing of it: else a stranger's refused try would count.
    """
    later = or_(
        _other.c.removed_at > _stack.c.removed_at,
        and_(_other.c.removed_at == _stack.c.removed_at, _other.c.id > _stack.c.id),
    )
    return (
        select(
            _stack.c.id,
            _stack.c.name,
            _stack.c.owner,
            _stack.c.manage_key_hash,
            _stack.c.removed_at,
            _volume.c.name.label("volume"),
        )
        .join(_volume, _volume.c.stack_id == _stack.c.id)
        .where(
            # Nothing but volumes is ever kept. In the statement's own words, as the index of what is kept has them.
            _volume.c.state == literal(ResourceState.KEPT.value, literal_execute=True),
            _stack.c.removed_at.is_not(None),
            ~_has_had(later),
            *conditions,
        )
    )


@cache
def _of_volumes() -> Select[Any]:
    """Make the statement once: to build it takes longer than to execute it."""
    return kept_files(_volume.c.kind == "volume", _volume.c.name.in_(bindparam("volumes", expanding=True)))


def kept_of(connection: Connection, volumes: Collection[str]) -> list[KeptFiles]:
    """Read what is kept of some volumes, whoever holds their names now."""
    return [kept_of_row(row) for row in connection.execute(_of_volumes(), {"volumes": list(volumes)})]


def unused(*conditions: Any) -> Select[Any]:
    """Select what is kept and has not been taken up by a stack that is there, nor is its name."""
    name_is_held = exists().where(_other.c.name == _stack.c.name, _other.c.removed_at.is_(None))
    in_use = (
        select(_others.c.stack_id)
        .join(_other, _other.c.id == _others.c.stack_id)
        .where(_others.c.kind == "volume", _others.c.name == _volume.c.name, _other.c.removed_at.is_(None))
        .correlate(_stack, _volume)
        .exists()
    )
    return kept_files(~name_is_held, ~in_use, *conditions)


def kept_of_row(row: Row[Any]) -> KeptFiles:
    """Read a row of what is kept."""
    return KeptFiles(row.id, row.name, row.volume, row.owner, row.manage_key_hash, row.removed_at)


def is_still_kept(connection: Connection, kept: KeptFiles) -> bool:
    """Whether files are as they were read, asked by whoever has the stack hold its name again meanwhile."""
    state = select(_volume.c.state).where(_volume.c.stack_id == kept.stack_id, _volume.c.kind == "volume")
    had_since = (
        select(_others.c.stack_id)
        .join(_other, _other.c.id == _others.c.stack_id)
        .where(
            _others.c.kind == "volume",
            _others.c.name == kept.volume,
            _others.c.state != ResourceState.PLANNED,
            _other.c.id != kept.stack_id,
            or_(_other.c.removed_at.is_(None), _other.c.removed_at >= kept.since),
        )
    )
    is_kept = connection.scalar(state) == ResourceState.KEPT
    return is_kept and connection.execute(had_since).first() is None


def keepers(connection: Connection, stack_ids: Collection[str]) -> set[str]:
    """Of some stacks that are gone, return those whose files are kept."""
    # By the names of their volumes, which have an index; by the stacks, every volume would be looked at.
    kept = kept_of(connection, _volumes_of(connection, stack_ids))
    return {each.stack_id for each in kept}.intersection(stack_ids)


def needed_for_files(connection: Connection, stack_ids: Collection[str]) -> set[str]:
    """Of some stacks that are gone, return those that tell of files what nothing else does.

    They have left files, or had those of another stack since it left them: without them these would seem to be kept.
    """
    left_before = (
        select(_others.c.stack_id)
        .join(_other, _other.c.id == _others.c.stack_id)
        .where(
            _others.c.kind == "volume",
            _others.c.name == _volume.c.name,
            _others.c.state == ResourceState.KEPT,
            _other.c.id != _stack.c.id,
            or_(_other.c.removed_at.is_(None), _other.c.removed_at <= _stack.c.removed_at),
        )
        .correlate(_stack, _volume)
        .exists()
    )
    successors = (
        select(_stack.c.id)
        .join(_volume, _volume.c.stack_id == _stack.c.id)
        .where(
            _volume.c.kind == "volume",
            _volume.c.name.in_(_volumes_of(connection, stack_ids)),
            _volume.c.state != ResourceState.PLANNED,
            left_before,
        )
    )
    return keepers(connection, stack_ids) | set(connection.scalars(successors)).intersection(stack_ids)


def _volumes_of(connection: Connection, stack_ids: Collection[str]) -> Sequence[str]:
    # Of each stack all five: by the kind, the database might look at every volume there is.
    of_them = connection.execute(select(_volume.c.kind, _volume.c.name).where(_volume.c.stack_id.in_(stack_ids)))
    return [row.name for row in of_them if row.kind == "volume"]


def _has_had(when: Any) -> Any:
    """Hold a query to volumes that another stack, now gone, has had."""
    return (
        select(_others.c.stack_id)
        .join(_other, _other.c.id == _others.c.stack_id)
        .where(
            _others.c.kind == "volume",
            _others.c.name == _volume.c.name,
            _others.c.state != ResourceState.PLANNED,
            _other.c.removed_at.is_not(None),
            when,
        )
        .correlate(_stack, _volume)
        .exists()
    )
