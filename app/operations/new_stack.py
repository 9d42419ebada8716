"""The rows of a new stack, and of the resources that are planned for it in Dokploy."""

from datetime import UTC, datetime

from sqlalchemy import Connection, insert

from app.deployments.states import ResourceState
from app.ids import new_id
from app.security.vault import Vault, fingerprint, new_password
from app.stacks.plan import Plan
from app.stacks.templates import StackSecrets, Template
from app.store import schema


def insert_stack(
    connection: Connection, vault: Vault, plan: Plan, template: Template, owner: str, manage_key: str
) -> str:
    """Add a stack, and what is planned of it in Dokploy; return its id. owner: "" for one who has no other."""
    stack_id, now = new_id(), datetime.now(UTC)
    connection.execute(
        insert(schema.stack),
        {
            "id": stack_id,
            "server_id": schema.DEFAULT_SERVER,
            "name": plan.name,
            "owner": owner or f"key:{stack_id}",
            "template": plan.template,
            "plan": plan.to_json(),
            "manage_key_hash": fingerprint(manage_key),
            "secrets": StackSecrets(new_password(), dict(template.variables)).encrypt(vault),
            "created_at": now,
        },
    )
    connection.execute(
        insert(schema.resource),
        [
            {
                "stack_id": stack_id,
                "kind": kind,
                "server_id": schema.DEFAULT_SERVER,
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
    return stack_id
