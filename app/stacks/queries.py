"""Queries for stacks and the files kept of them."""

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select

from app.deployments.model import DeploymentRecord
from app.deployments.queries import DEPLOYMENTS, DeploymentRecords, newest_id, read_deployments
from app.stacks.model import EVERYBODY, StackRecord, StackView, Whose
from app.stacks.volumes import LAST_FIRST, OF_ALL, OF_SOME, KeptFiles, kept_of, kept_of_row, unused
from app.store import schema
from app.store.paging import Order, Page, PageRequest, every

# Without the sealed secrets, which a list has no use for.
_STACKS: Final = select(
    *(column for column in schema.stack.c if column.name not in {"secrets", "next_secrets", "removed_at"}),
    schema.stack.c.next_secrets.is_not(None).label("is_password_pending"),
)
_STANDING: Final = Order("stacks", (schema.stack.c.created_at, schema.stack.c.id))


class Records(DeploymentRecords):
    """Reads stacks, their deployments, and files kept of them; changes nothing."""

    async def find_stack(self, name: str) -> StackRecord | None:
        """Return the stack that holds a name."""
        found = await self._stacks(_STACKS.where(schema.stack.c.name == name))
        return found[0] if found else None

    async def list_stacks(self, ids: Collection[str] | None = None) -> list[StackRecord]:
        """Return every stack, newest first. ids: only these."""
        query = _STACKS.order_by(schema.stack.c.created_at.desc())
        return await self._stacks(query if ids is None else query.where(schema.stack.c.id.in_(ids)))

    async def _stacks(self, query: Select[Any]) -> list[StackRecord]:
        rows = await self._rows(query.where(schema.stack.c.removed_at.is_(None)))
        return [_stack_record(row) for row in rows]

    async def sealed_secrets(self, stack_id: str) -> bytes | None:
        """Return the secrets that a stack's container was last started with, encrypted; None once the stack is gone."""
        rows = await self._rows(
            select(schema.stack.c.secrets).where(schema.stack.c.id == stack_id, schema.stack.c.removed_at.is_(None))
        )
        return rows[0].secrets if rows else None

    async def stack_views(self, whose: Whose, request: PageRequest) -> Page[StackView]:
        """Stacks with their newest deployments, newest first; the same few queries, however many there are."""
        query = _STACKS.add_columns(newest_id().label("newest_id"))
        query = query.where(schema.stack.c.removed_at.is_(None), *_held_to(whose))
        return await self._database.read(
            lambda connection: _STANDING.page(partial(_read_views, connection), query, request)
        )

    def every_stack(self) -> AsyncIterator[StackView]:
        """Every stack with its newest deployment, newest first, a page in memory at a time."""
        return every(partial(self.stack_views, EVERYBODY))

    async def lately_gone(self, whose: Whose, *, limit: int) -> list[DeploymentRecord]:
        """Return the last deployments of removed stacks, the latest removal first."""
        gone = (
            select(newest_id())
            .select_from(schema.stack)
            .where(schema.stack.c.removed_at.is_not(None), *_held_to(whose))
            .order_by(*LAST_FIRST)
            .limit(limit)
        )

        def read(connection: Connection) -> list[DeploymentRecord]:
            ids = connection.scalars(gone).all()
            query = DEPLOYMENTS.where(schema.deployment.c.id.in_(ids))
            found = {record.id: record for _, record in read_deployments(connection, query)}
            return [found[each] for each in ids if each in found]

        return await self._database.read(read)

    async def held(self, names: Collection[str]) -> set[str]:
        """Which of the names are held by a stack."""
        rows = await self._rows(
            select(schema.stack.c.name).where(schema.stack.c.name.in_(names), schema.stack.c.removed_at.is_(None))
        )
        return {row.name for row in rows}

    async def kept_of(self, volumes: Collection[str]) -> dict[str, KeptFiles]:
        """Which of some volumes are kept of stacks that are gone, by their names."""
        kept = await self._database.read(partial(kept_of, volumes=volumes))
        return {each.volume: each for each in kept}

    async def knows_key(self, key_hash: str) -> bool:
        """Whether a fingerprint is that of the manage key of any stack, be it gone."""
        rows = await self._rows(select(schema.stack.c.id).where(schema.stack.c.manage_key_hash == key_hash).limit(1))
        return bool(rows)

    async def kept_files(self, whose: Whose, request: PageRequest) -> Page[KeptFiles]:
        """Return the kept files of removed stacks, latest first."""

        def read(connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], KeptFiles]]:
            return [(row, kept_of_row(row)) for row in connection.execute(query)]

        query, order = unused(*_held_to(whose)), OF_ALL if whose == EVERYBODY else OF_SOME
        return await self._database.read(lambda connection: order.page(partial(read, connection), query, request))

    async def kept_under(self, name: str, whose: Whose = EVERYBODY) -> list[KeptFiles]:
        """Return the kept files of removed stacks of a name, latest first."""
        query = unused(schema.stack.c.name == name, schema.stack.c.removed_at.is_not(None))
        rows = await self._rows(query.order_by(*LAST_FIRST))
        # Held to these only here: SQLite would look through all that an owner ever had, not through the name's.
        return [kept for kept in map(kept_of_row, rows) if whose.has(kept.owner, kept.manage_key_hash)]

    # For runs, which wait while the store is away

    async def dokploy_ids(self, stack_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Dokploy's ids of what stacks have there, by stack id and kind."""
        table = schema.resource.c
        rows = await self._rows(
            select(table.stack_id, table.kind, table.dokploy_id).where(
                table.stack_id.in_(stack_ids), table.dokploy_id.is_not(None)
            )
        )
        ids: dict[str, dict[str, str]] = {}
        for row in rows:
            ids.setdefault(row.stack_id, {})[row.kind] = row.dokploy_id
        return ids

    async def is_kept_volume(self, volume: str, owner: str) -> bool:
        """Whether a volume was left by a removed stack of this same owner, who asked to keep it."""
        kept = await self._database.read_patiently(partial(kept_of, volumes=[volume]))
        return any(each.owner == owner for each in kept)


def _held_to(whose: Whose) -> list[Any]:
    """Hold a query to some stacks."""
    stack = schema.stack.c
    wanted = ((stack.owner, whose.owner), (stack.manage_key_hash, whose.key_hash))
    return [column == value for column, value in wanted if value is not None]


def _read_views(connection: Connection, query: Select[Any]) -> list[tuple[Row[Any], StackView]]:
    """Read stacks, and then their newest deployments: in one query, these would be looked up for more than a page."""
    rows = connection.execute(query).all()
    newest = DEPLOYMENTS.where(schema.deployment.c.id.in_([row.newest_id for row in rows]))
    records = {record.stack_id: record for _, record in read_deployments(connection, newest)}
    return [(row, StackView(_stack_record(row), records[row.id])) for row in rows]


def _stack_record(row: Any) -> StackRecord:
    return StackRecord(
        id=row.id,
        server_id=row.server_id,
        name=row.name,
        owner=row.owner,
        template=row.template,
        plan=row.plan,
        manage_key_hash=row.manage_key_hash,
        created_at=row.created_at,
        is_password_pending=row.is_password_pending,
    )
