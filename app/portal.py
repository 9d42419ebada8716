"""The parts of the portal, as requests find them; `app.bootstrap` builds them."""

from dataclasses import dataclass

from app.audit import Trail
from app.config.settings import Settings
from app.dokploy.health import HealthWatch
from app.engine.broker import Broker
from app.engine.queue import DeploymentQueue
from app.engine.runner import Runner
from app.identity import Accounts, Authentication, Sessions, Tokens
from app.observation.leftovers import Leftovers
from app.operations.service import Operations
from app.reporting.statistics import Statistics
from app.security.vault import Vault
from app.stacks.availability import Names
from app.stacks.queries import Records
from app.stacks.templates import Template
from app.stacks.transfer import Transfers
from app.store.readiness import Readiness


@dataclass(frozen=True)
class Portal:
    """Everything that a request may need."""

    settings: Settings
    version: str
    readiness: Readiness
    vault: Vault
    template: Template
    broker: Broker
    records: Records
    statistics: Statistics
    leftovers: Leftovers
    waiting: DeploymentQueue
    names: Names
    operations: Operations
    transfers: Transfers
    authentication: Authentication
    accounts: Accounts
    sessions: Sessions
    tokens: Tokens
    trail: Trail
    runner: Runner
    health: HealthWatch
