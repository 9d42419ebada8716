"""The composition root: builds the portal from its settings. The only place that does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import structlog

from app import __version__
from app.audit import Trail
from app.config.settings import Settings
from app.dokploy import DokployClient
from app.dokploy.circuit import Circuit
from app.dokploy.health import HealthWatch
from app.engine.broker import Broker
from app.engine.context import RunnerDeps
from app.engine.estimates import Estimates
from app.engine.failpoints import Failpoints
from app.engine.journal import Journal
from app.engine.leases import Leases
from app.engine.queue import DeploymentQueue
from app.engine.runner import Runner
from app.errors import PortalError
from app.identity import Accounts, Allowlist, Authentication, Sessions, Tokens
from app.observation.janitor import Janitor
from app.observation.leftovers import Leftovers
from app.observation.probe import Prober
from app.observation.retention import Keep, Retention
from app.observation.tracker import Tracker
from app.operations.service import Operations
from app.operations.steps import make_steps
from app.portal import Portal
from app.reporting.statistics import Statistics
from app.security.reencryption import Reencryption
from app.security.vault import Vault, load_keys
from app.stacks.availability import Names
from app.stacks.plan import registry_of
from app.stacks.queries import Records
from app.stacks.quotas import Quotas
from app.stacks.templates import built_in_template
from app.stacks.transfer import Transfers
from app.store.engine import Database
from app.store.installation import installation_id
from app.store.listener import Listener
from app.store.lock import FileLock
from app.store.readiness import Readiness, open_store

log = structlog.get_logger()

# A single call that fails a few times is no outage; so many in a row, with none that succeeds between, are.
_CIRCUIT_FAILURES = 5
# How long what works in the background pauses after a mistake in it.
_BROKEN_SECONDS = 5.0


@asynccontextmanager
async def open_portal(settings: Settings, *, runs: bool = True) -> AsyncIterator[Portal]:
    """Open the portal: migrate the store, begin to run deployments; at the end hand them over and close everything.

    `runs`: whether this process runs deployments, or leaves them to others on the same PostgreSQL. Dokploy may be away:
    the portal starts all the same, and says so in its health. Raises SettingsError where the store cannot be used, or
    is written with another SECRET_KEY.
    """
    async with AsyncExitStack() as closing:
        vault = Vault(load_keys(settings))
        failpoints = Failpoints.from_environment()
        database = await open_store(settings.database_url, make=failpoints.open if failpoints else Database)
        closing.push_async_callback(database.close)
        records = Records(database)
        broker = Broker(records.events)
        journal = Journal(database, broker)
        installation = await installation_id(database)
        await Reencryption(database, vault).recognise()
        prober = Prober(settings.stack_probe_address)
        closing.push_async_callback(prober.close)

        def may_write() -> None:
            # The runner makes calls by the client, which asks the runner before each that changes something.
            runner.assert_lease()

        dokploy = _make_client(settings, failpoints, may_write=may_write)
        closing.push_async_callback(dokploy.close)
        estimates = Estimates(database)
        deps = RunnerDeps(
            settings=settings,
            dokploy=dokploy,
            tracker=Tracker(dokploy),
            prober=prober,
            leases=Leases(database),
            journal=journal,
            records=records,
            broker=broker,
            estimates=estimates,
            registry=registry_of(settings),
            installation=installation,
        )
        lock = FileLock(settings.sqlite_path) if settings.sqlite_path else None
        runner = Runner(deps, vault, lock, make_steps=make_steps)
        pause, quotas = settings.leftovers_retry_seconds, Quotas.of(settings)
        leftovers = Leftovers(database, records, first_pause=pause, attempts=settings.leftovers_attempts)
        admit = _admits(dokploy.connection.circuit)
        operations = Operations(database, records, vault, settings, runner.wake, admit=admit, quotas=quotas)
        accounts, tokens = Accounts(database), Tokens(database, kept_days=settings.keep_tokens_days)
        sessions = Sessions(database, lives=timedelta(hours=settings.session_hours))
        health = HealthWatch(dokploy)
        background = {"health": health.run}
        if not database.is_sqlite:
            hears = Listener(settings.database_url, _hear(runner, broker), _catch_up(runner, broker))
            background["listener"] = hears.run
        if runs:
            janitor = Janitor(
                leftovers, operations.retry_removal, first_pause=pause, may_act=_may_retry(runner, dokploy)
            )
            background |= {
                "janitor": janitor.run,
                "retention": Retention(database, Keep.of(settings), may_act=lambda: runner.is_active).run,
            }
        await closing.enter_async_context(_running(background))
        closing.push_async_callback(runner.stop)
        if runs:
            runner.start()
        yield Portal(
            settings=settings,
            version=__version__,
            readiness=Readiness(database),
            vault=vault,
            template=built_in_template(settings),
            broker=broker,
            records=records,
            statistics=Statistics(database),
            leftovers=leftovers,
            waiting=DeploymentQueue(database, estimates, concurrency=settings.runner_concurrency),
            names=Names(records),
            operations=operations,
            transfers=Transfers(database, quotas),
            authentication=Authentication(settings, Allowlist(settings), accounts, sessions, tokens),
            accounts=accounts,
            sessions=sessions,
            tokens=tokens,
            trail=Trail(database),
            runner=runner,
            health=health,
        )


def _make_client(settings: Settings, failpoints: Failpoints | None, *, may_write: Callable[[], None]) -> DokployClient:
    return DokployClient(
        settings.dokploy_base,
        settings.dokploy_api_token.get_secret_value(),
        timeout=settings.dokploy_timeout_seconds,
        max_concurrency=settings.dokploy_max_concurrency,
        circuit=Circuit(failures=_CIRCUIT_FAILURES, seconds=settings.dokploy_circuit_seconds, changed=_tell_circuit),
        may_write=may_write,
        wrap=failpoints.wrap if failpoints else None,
    )


@asynccontextmanager
async def _running(background: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run what works in the background for as long as the block lasts."""
    tasks = [_supervised(name, run) for name, run in background.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _supervised(name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Run something for as long as the portal lives; a mistake in it is logged, and it begins anew."""

    async def forever() -> None:
        while True:
            try:
                await run()
            except Exception:
                log.exception("background_broke", task=name)
            await asyncio.sleep(_BROKEN_SECONDS)

    return asyncio.create_task(forever(), name=name)


def _tell_circuit(state: str, why: str) -> None:
    """Put each change of the circuit into the log, where an operator's alerts find it (ASD-15)."""
    (log.warning if state == "open" else log.info)("dokploy_circuit", state=state, reason=why)


def _admits(circuit: Circuit) -> Callable[[], None]:
    """Begin nothing new while Dokploy is left alone: it would only wait, and the person with it."""

    def admit() -> None:
        if circuit.state == "open":
            raise PortalError("dokploy_away", seconds=circuit.seconds_left)

    return admit


def _may_retry(runner: Runner, dokploy: DokployClient) -> Callable[[], bool]:
    """Retry where deployments run, and not while Dokploy is away: such an attempt would count for nothing."""
    return lambda: runner.is_active and dokploy.connection.circuit.state == "closed"


def _hear(runner: Runner, broker: Broker) -> Any:
    def hear(payload: str) -> None:
        what, *more = payload.split(" ")
        if what == "events":
            deployment_id, last = more
            broker.poke(deployment_id, int(last))
        else:
            runner.wake(what)

    return hear


def _catch_up(runner: Runner, broker: Broker) -> Any:
    def catch_up() -> None:
        broker.poke_all()
        runner.wake("cancel")

    return catch_up
