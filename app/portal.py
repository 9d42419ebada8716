"""The portal's parts, as a request finds them; `app.bootstrap` puts them together."""

from dataclasses import dataclass

from app.audit import Trail
from app.config.settings import Settings
from app.dokploy.health import HealthWatch
from app.engine.broker import Feed
from app.engine.queue import WaitingLine
from app.engine.runner import Runner
from app.identity import Accounts, Recognition, Sessions, Tokens
from app.observation.leftovers import Leftovers
from app.operations.service import Operations
from app.reporting.statistics import Statistics
from app.security.vault import Vault
from app.stacks.availability import Names
from app.stacks.queries import Records
from app.stacks.templates import Template
from app.stacks.transfer import HandingOver
from app.store.readiness import Readiness


@dataclass(frozen=True)
class Portal:
    """Everything that a request may need."""

    settings: Settings
    version: str
    readiness: Readiness
    vault: Vault
    template: Template
    feed: Feed
    records: Records
    statistics: Statistics
    leftovers: Leftovers
    waiting: WaitingLine
    names: Names
    operations: Operations
    handing_over: HandingOver
    recognition: Recognition
    accounts: Accounts
    sessions: Sessions
    tokens: Tokens
    trail: Trail
    runner: Runner
    health: HealthWatch
