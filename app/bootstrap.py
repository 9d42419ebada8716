"""Puts the portal together: settings to store, client, runner and all that requests need. The only place that does."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from app import __version__
from app.database import Database, FileLock, Listener
from app.deployments.context import Surroundings
from app.deployments.feed import Feed
from app.deployments.intake import Intake
from app.deployments.journal import Journal
from app.deployments.plan import registry_of
from app.deployments.probing import Prober
from app.deployments.record import Records
from app.deployments.runner import Runner
from app.deployments.template import Template, built_in_template
from app.deployments.tracking import Observer
from app.dokploy import DokployClient
from app.dokploy.health import HealthWatch
from app.migrations import migrate
from app.settings import Settings
from app.vault import Vault, load_keys


@dataclass(frozen=True)
class Portal:
    """Everything a request may need."""

    settings: Settings
    version: str
    database: Database
    vault: Vault
    template: Template
    feed: Feed
    records: Records
    intake: Intake
    runner: Runner
    health: HealthWatch


@asynccontextmanager
async def open_portal(settings: Settings, *, runs: bool = True) -> AsyncIterator[Portal]:
    """Open the portal: migrate the store, begin to run deployments; at the end hand them over and close everything.

    `runs`: whether this process runs deployments, or leaves them to others on the same PostgreSQL. Dokploy may be
    away: the portal starts all the same, and says so in its health.
    """
    vault = Vault(load_keys(settings))
    database = Database(settings.database_url)
    await migrate(database)
    records = Records(database)
    feed = Feed(records.events)
    journal = Journal(database, feed)
    dokploy = DokployClient(
        settings.dokploy_base,
        settings.dokploy_api_token.get_secret_value(),
        timeout=settings.dokploy_timeout_seconds,
        max_concurrency=settings.dokploy_max_concurrency,
    )
    prober = Prober(settings.stack_probe_address)
    around = Surroundings(
        settings=settings,
        dokploy=dokploy,
        observer=Observer(dokploy),
        prober=prober,
        journal=journal,
        records=records,
        feed=feed,
        registry=registry_of(settings),
        installation=await journal.installation_id(),
    )
    lock = FileLock(settings.sqlite_path) if settings.sqlite_path else None
    runner = Runner(around, vault, lock)
    health = HealthWatch(dokploy)
    background = [asyncio.create_task(health.run(), name="health")]
    if not database.is_sqlite:
        listener = Listener(settings.database_url, _hear(runner, feed), _catch_up(runner, feed))
        background.append(asyncio.create_task(listener.run(), name="listener"))
    if runs:
        runner.start()
    try:
        yield Portal(
            settings=settings,
            version=__version__,
            database=database,
            vault=vault,
            template=built_in_template(settings),
            feed=feed,
            records=records,
            intake=Intake(database, records, vault, runner.wake),
            runner=runner,
            health=health,
        )
    finally:
        await runner.stop()
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await dokploy.close()
        await prober.close()
        await database.close()


def configure_logging(level: str, *, readable: bool) -> None:
    """Say how the log looks: one JSON object a line, or columns for a person at a terminal."""
    renderer: Any = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Values of variables in a traceback may be secrets, so a traceback is text without them.
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", force=True)
    # httpx logs whole addresses, also those of a stack's probes, at INFO.
    for name in ("httpx", "httpcore", "aiosqlite", "alembic", "stamina"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _hear(runner: Runner, feed: Feed) -> Any:
    def hear(payload: str) -> None:
        what, *more = payload.split(" ")
        if what == "events":
            deployment_id, last = more
            feed.poke(deployment_id, int(last))
        else:
            runner.wake(what)

    return hear


def _catch_up(runner: Runner, feed: Feed) -> Any:
    def catch_up() -> None:
        feed.poke_all()
        runner.wake("cancel")

    return catch_up
