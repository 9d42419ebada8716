"""Stores with many rows, written straight into the tables, so that each has the time and the owner that a test wants."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, insert, text, update

from app.deployments.states import ResourceState
from app.ids import new_id
from app.operations.create import CREATE
from app.operations.redeploy import REDEPLOY
from app.operations.remove import REMOVE
from app.security.vault import Vault
from app.stacks.names import DeploymentRequest
from app.stacks.plan import make_plan
from app.stacks.templates import StackSecrets, built_in_template
from app.store import schema
from app.store.engine import Database
from tests.servers import portal_settings

BEGAN: Final = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
ADA, BOB = "browser:ada", "browser:bob"
ADA_EMAIL: Final = "ada@example.com"

# By the key that the portals of tests have: one that cannot read what is there does not start.
_SEALED: Final = StackSecrets("a-password", {}).encrypt(Vault(["a-key-that-is-only-for-tests"]))
_SETTINGS: Final = portal_settings("http://dokploy:3000", "sqlite+aiosqlite:///:memory:")


def plan_of(name: str) -> dict[str, Any]:
    """The plan of a stack, as its deployments have it."""
    return make_plan(DeploymentRequest(name), built_in_template(_SETTINGS), _SETTINGS).to_json()


def at(number: int) -> datetime:
    """A moment; each is that of three rows, so that their ids decide."""
    return BEGAN + timedelta(minutes=number // 3)


@dataclass
class ManyRows:
    """Rows to be written together."""

    rows: dict[Table, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def stack(
        self,
        number: int,
        owner: str = ADA,
        *,
        kept: bool = False,
        gone: bool = False,
        failed: bool = False,
        name: str | None = None,
    ) -> str:
        """Add a stack with its deployment. kept: it is gone, and has left its files; failed: it could not be removed."""
        stack_id, moment = new_id(), at(number)
        is_gone = kept or gone
        name = name or f"{owner[-3:]}-{number}"
        self.rows[schema.stack].append(
            {
                "id": stack_id,
                "name": name,
                "owner": owner,
                "template": "opencode",
                "plan": plan_of(name),
                "manage_key_hash": stack_id,
                "secrets": _SEALED,
                "created_at": moment,
                "removed_at": moment + timedelta(seconds=1) if is_gone else None,
            }
        )
        state = ResourceState.KEPT if kept else ResourceState.REMOVED if gone else ResourceState.PRESENT
        for kind, name_there in (("project", f"p-{name}"), ("application", f"a-{name}"), ("volume", f"v-{name}")):
            self.rows[schema.resource].append(
                {
                    "stack_id": stack_id,
                    "kind": kind,
                    "name": name_there,
                    "state": state if kind == "volume" or not kept else ResourceState.REMOVED,
                    "attempts": 1,
                    "changed_at": moment,
                }
            )
        ended = {"kind": REMOVE.kind, "conclusion": "failed"} if failed else {"kind": CREATE.kind}
        self.deployment(number, stack_id, name, **ended)
        return stack_id

    def deployment(self, number: int, stack_id: str, name: str = "ada", **values: Any) -> str:
        """Add a deployment of a stack."""
        deployment_id = new_id()
        row = {
            "id": deployment_id,
            "stack_id": stack_id,
            "name": name,
            "kind": REDEPLOY.kind,
            "trigger": "user",
            "actor": ADA,
            "options": {},
            "plan": plan_of(name),
            "created_at": at(number),
            "started_at": at(number),
            "concluded_at": at(number) + timedelta(seconds=30),
            "status": "completed",
            "conclusion": "succeeded",
            "leftovers": [],
            "last_event": 0,
        }
        self.rows[schema.deployment].append({**row, **values})
        return deployment_id

    def leftover(self, number: int, *, removed: bool = False, attempts: int = 1) -> tuple[str, str]:
        """Add a resource that could not be removed, of a stack of its own."""
        stack_id = self.stack(number, failed=True, name=f"left-{new_id()}"[:30])
        self.rows[schema.leftover].append(
            {
                "stack_id": stack_id,
                "kind": "volume",
                "name": f"v-{number}",
                "code": "volume_stays",
                "deployment_id": self.rows[schema.deployment][-1]["id"],
                "attempts": attempts,
                "left_at": at(number),
                "tried_at": at(number),
                "removed_at": at(number) if removed else None,
            }
        )
        return stack_id, "volume"

    def entry(self, number: int, actor: str = ADA, email: str | None = ADA_EMAIL, stack: str = "ada") -> str:
        """Add an entry of the audit trail."""
        entry_id = new_id()
        said = {"role": "user", "means": "browser", "action": "deploy", "outcome": "done"}
        row = {"id": entry_id, "at": at(number), "actor": actor, "email": email, "stack": stack, **said}
        self.rows[schema.audit].append(row)
        return entry_id

    def token(self, number: int, owner: str = ADA) -> str:
        """Add an access token."""
        token_id = new_id()
        self.rows[schema.token].append(
            {
                "id": token_id,
                "hash": token_id,
                "owner": owner,
                "name": f"token {number}",
                "scopes": ["stack:read"],
                "created_at": at(number),
                "expires_at": datetime.now(UTC) + timedelta(days=30),
            }
        )
        return token_id

    async def write(self, database: Database) -> None:
        """Write what was added since the last time."""
        tables = [table for table in schema.stack.metadata.sorted_tables if self.rows.get(table)]

        def work(connection: Connection) -> None:
            for table in tables:
                connection.execute(insert(table), self.rows[table])

        await database.write(work)
        self.rows.clear()


async def analyze(database: Database) -> None:
    """Let PostgreSQL know how many rows there are, as it does by itself after a while."""
    if not database.is_sqlite:
        await database.write(lambda connection: connection.execute(text("ANALYZE")).close())


async def remove_stack(database: Database, stack_id: str) -> None:
    """Have a stack be gone."""
    gone = update(schema.stack).where(schema.stack.c.id == stack_id).values(removed_at=datetime.now(UTC))
    await database.write(lambda connection: connection.execute(gone).close())


async def erase_files(database: Database, stack_id: str) -> None:
    """Have kept files be erased."""
    of_it = (schema.resource.c.stack_id == stack_id) & (schema.resource.c.kind == "volume")
    erased = update(schema.resource).where(of_it).values(state=ResourceState.REMOVED)
    await database.write(lambda connection: connection.execute(erased).close())


async def delete_row(database: Database, table: Table, key: str) -> None:
    """Delete a row by the first column of its key."""
    (column, *_) = table.primary_key
    await database.write(lambda connection: connection.execute(delete(table).where(column == key)).close())
