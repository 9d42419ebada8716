"""What keeps a stack that stands, should a verb treat it badly: the janitor's own look, and whose files are erased."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from app.audit import PORTAL
from app.deployments.model import DeploymentRecord
from app.deployments.states import Conclusion, ResourceState, Status, StepState
from app.errors import PortalError
from app.observation.leftovers import Leftovers
from app.operations.redeploy import REDEPLOY
from app.operations.service import Accepted
from app.stacks.model import StackRecord
from app.stacks.names import DeploymentRequest
from app.stacks.requester import Requester
from app.stacks.templates import built_in_template
from app.stacks.volumes import KeptFiles
from app.store import schema
from app.store.paging import PageRequest
from tests.integration.test_store import ADA, Store
from tests.servers import PortalServer

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
async def store(any_database_url: str) -> AsyncIterator[Store]:
    opened = Store(any_database_url)
    yield opened
    await opened.database.close()


async def stack_that_stands(store: Store) -> StackRecord:
    await store.deploy("ada")
    await store.conclude(await store.claim_one())
    found = await store.records.find_stack("ada")
    assert found is not None
    return found


async def list_volume(store: Store, stack: StackRecord) -> None:
    """List the stack's volume as left over, due for long, whatever has put it there."""
    newest = await store.records.newest_deployment(stack.id)
    assert newest is not None
    row = {
        "stack_id": stack.id,
        "kind": "volume",
        "name": stack.plan["volume"],
        "code": "volume_stays",
        "deployment_id": newest.id,
        "attempts": 1,
        "left_at": LONG_AGO,
        "tried_at": LONG_AGO,
    }
    await store.database.write(lambda connection: connection.execute(insert(schema.leftover).values(row)))


@pytest.mark.parametrize("conclusion", [Conclusion.SUCCEEDED, Conclusion.FAILED, Conclusion.CANCELED])
@pytest.mark.anyio
async def test_nothing_of_a_stack_that_stands_is_removed_by_itself(store: Store, conclusion: Conclusion):
    stack = await stack_that_stands(store)
    await store.operations.change(REDEPLOY, stack, ADA)
    await store.conclude(await store.claim_one(), conclusion)
    await list_volume(store, stack)

    assert await Leftovers(store.database, store.records, first_pause=0, attempts=9).due() == []


@pytest.mark.anyio
async def test_what_a_removal_has_left_is_due(store: Store):
    stack = await stack_that_stands(store)
    await store.operations.remove(stack, "erase", ADA)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    await list_volume(store, stack)

    assert await Leftovers(store.database, store.records, first_pause=0, attempts=9).due() == [stack]


@pytest.mark.anyio
async def test_what_has_been_tried_often_enough_is_not_due_until_an_operator_says_so(store: Store):
    stack = await stack_that_stands(store)
    await store.operations.remove(stack, "erase", ADA)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    await list_volume(store, stack)
    leftovers = Leftovers(store.database, store.records, first_pause=0, attempts=1)
    assert await leftovers.due() == []
    (left,) = (await leftovers.page(PageRequest())).items
    assert left.needs_operator

    assert await leftovers.hurry() == 1

    assert await leftovers.due() == [stack]
    (left,) = (await leftovers.page(PageRequest())).items
    assert not left.needs_operator


@pytest.mark.anyio
async def test_a_removal_that_somebody_else_requested_is_not_queued_again(store: Store):
    """Whoever requested it was told how it ended; the portal's retries are a deployment of its own."""
    stack = await stack_that_stands(store)
    theirs = await store.operations.remove(stack, "erase", ADA)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)

    first = await store.operations.retry_removal(stack)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    again = await store.operations.retry_removal(stack)

    assert first not in {theirs, None}
    assert again == first
    record = await store.records.deployment(first)
    assert record is not None
    assert (record.status, record.conclusion, record.problem, record.options) == (
        Status.QUEUED,
        None,
        None,
        {"volume": "erase"},
    )
    assert {step.state for step in record.steps} == {StepState.PENDING}
    run = await store.claim_one()
    assert (run.id, run.is_new, run.problem) == (first, True, None)


@pytest.mark.anyio
async def test_a_removal_that_is_under_way_is_not_queued_again(store: Store):
    stack = await stack_that_stands(store)
    await store.operations.retry_removal(stack)
    run = await store.claim_one()

    with pytest.raises(PortalError) as refused:
        await store.operations.retry_removal(stack)

    assert refused.value.code == "stack_busy"
    await store.conclude(run, Conclusion.FAILED)  # it still is that worker's


@pytest.mark.anyio
async def test_a_removal_is_not_queued_again_once_another_deployment_came_after_it(store: Store):
    """Read as the newest; then its owner requests a removal, which ends before the portal's transaction begins."""
    stack = await stack_that_stands(store)
    ours = await store.operations.retry_removal(stack)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    read = store.records.newest_deployment
    happened: list[str] = []

    async def newest_deployment(stack_id: str) -> DeploymentRecord | None:
        found = await read(stack_id)
        if not happened:
            happened.append(await store.operations.remove(stack, "keep", ADA))
            await store.conclude(await store.claim_one(), Conclusion.FAILED)
        return found

    store.records.newest_deployment = newest_deployment  # type: ignore[method-assign]
    before = await store.records.deployment(ours)
    with pytest.raises(PortalError) as refused:
        await store.operations.retry_removal(stack)

    assert refused.value.code == "stack_busy"
    assert await store.records.deployment(ours) == before
    assert len(happened) == 1


async def chosen(store: Store, stack: StackRecord) -> str:
    """What the portal does with the volume where it removes the stack by itself."""
    await store.operations.remove(stack, None, Requester(stack.owner, PORTAL, "portal"))
    newest = await store.records.newest_deployment(stack.id)
    assert newest is not None
    return str(newest.options["volume"])


@pytest.mark.anyio
async def test_files_of_a_stack_that_once_stood_are_erased_only_on_request(store: Store):
    stack = await stack_that_stands(store)

    assert await chosen(store, stack) == "keep"


@pytest.mark.anyio
async def test_a_removal_that_is_tried_again_does_what_was_requested(store: Store):
    stack = await stack_that_stands(store)
    await store.operations.remove(stack, "erase", ADA)
    await store.conclude(await store.claim_one(), Conclusion.FAILED)

    assert await chosen(store, stack) == "erase"


@pytest.mark.anyio
async def test_a_creation_that_failed_takes_its_own_volume_with_it(store: Store):
    await store.deploy("ada")
    await store.conclude(await store.claim_one(), Conclusion.FAILED)
    stack = await store.records.find_stack("ada")
    assert stack is not None

    assert await chosen(store, stack) == "erase"


class Meanwhile(Store):
    """A store in which something happens between the reading of facts and the transaction that relies on them."""

    async def remove_and_keep(self) -> None:
        """Remove the stack that stands, and keep its files."""
        found = await self.records.find_stack("ada")
        assert found is not None
        await self.operations.remove(found, "keep", ADA)
        run = await self.claim_one()
        kept = (
            update(schema.resource)
            .where(schema.resource.c.stack_id == found.id, schema.resource.c.kind == "volume")
            .values(state=ResourceState.KEPT)
        )
        await self.database.write(lambda connection: connection.execute(kept))
        await self.conclude(run, frees_name=True)


@pytest.mark.anyio
async def test_a_plan_is_decided_anew_where_files_were_kept_meanwhile(any_database_url: str, tmp_path: Path):
    """The facts are read; then the stack before is removed and its files are kept; then the new one is recorded."""
    store = Meanwhile(any_database_url)
    await stack_that_stands(store)
    read = store.records.kept_of
    happened: list[str] = []

    async def kept_of(volumes: list[str]) -> dict[str, KeptFiles]:
        found = await read(volumes)
        if not happened:
            happened.append("removed")
            await store.remove_and_keep()
        return found

    store.records.kept_of = kept_of  # type: ignore[method-assign,assignment]
    accepted: Accepted = await store.operations.create(DeploymentRequest("ada"), built_in_template(store.settings), ADA)

    record = await store.records.deployment(accepted.deployment_id)
    assert record is not None
    assert "files_kept" in record.plan["warnings"]
    assert happened == ["removed"]
    await store.database.close()


@pytest.mark.anyio
async def test_a_plan_that_is_refused_records_nothing(store: Store):
    before = await store.everything()

    with pytest.raises(PortalError) as refused:
        await store.operations.create(
            DeploymentRequest("ada", template="another"), built_in_template(store.settings), ADA
        )

    assert refused.value.code == "template_unknown"
    assert await store.everything() == before


NEWER = """
UPDATE deployment SET kind = 'hibernate' WHERE id = :id;
UPDATE step SET name = 'freeze' WHERE deployment_id = :id AND name = 'deploy';
UPDATE event SET key = 'step_started.hibernate.freeze', params = replace(params, '"deploy"', '"freeze"'),
  type = 'step_started' WHERE deployment_id = :id AND key LIKE 'step_started.%.deploy';
UPDATE event SET key = 'deployment_frozen', type = 'deployment_frozen'
  WHERE deployment_id = :id AND key = 'step_started.create.configure';
UPDATE event SET key = 'step_failed.cold', params = '{"step": "freeze", "code": "cold", "details": {}}', type = 'step_failed'
  WHERE deployment_id = :id AND key = 'step_succeeded.create.configure';
"""


def test_what_a_newer_portal_has_recorded_is_shown(start_portal: Callable[..., PortalServer]):
    """While one version takes another's place, each shows what the other does."""
    portal = start_portal()
    accepted = portal.deploy("ada")
    deployment = accepted["deploymentId"]
    portal.wait(deployment)
    with closing(sqlite3.connect(portal.database)) as database:
        for statement in NEWER.split(";")[:-1]:
            assert database.execute(statement, {"id": deployment}).rowcount == 1, statement
        database.commit()

    key = {"authorization": f"Bearer {accepted['manageKey']}"}
    for path in (f"/deployments/{deployment}", f"/deployments/{deployment}/record", "/stacks", "/stacks/ada"):
        page = portal.client.get(path, headers={**key, "accept": "text/html"})
        assert page.status_code == 200, path
    record = portal.client.get(f"/api/deployments/{deployment}", headers=key).json()
    events = portal.events(deployment)

    assert record["kind"] == "hibernate"
    assert "freeze" in [step["name"] for step in record["steps"]]
    said = [event["message"] for event in events]
    assert said.count("This version of the portal cannot describe this event.") == 3
    stack = portal.client.get("/api/stack/ada", headers=key).json()
    assert stack["state"] == "running"
