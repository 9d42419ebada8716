"""The JSON for operators: the overview, and leftover resources."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime

from app.deployments.model import DeploymentRecord
from app.observation.leftovers import Leftover
from app.reporting.statistics import Overview
from app.stacks.quotas import Quotas
from app.store.paging import Page
from app.web.api.schemas.base import Answer, PageAnswer
from app.web.api.schemas.deployments import DeploymentSummary, LeftoverAnswer, deployment_summary, status_url


class LeftoversAnswer(PageAnswer):
    """Everything that could not be removed yet."""

    class Item(LeftoverAnswer):
        """One resource, why it is there, and when its removal is retried."""

        stack: str
        code: str
        attempts: int
        left_at: datetime
        tried_at: datetime
        next_try_at: datetime | None
        needs_operator: bool
        """Whether the portal has stopped retrying, so that an operator has to act."""
        deployment_id: str
        status_url: str

    items: list[Item]


class OverviewAnswer(Answer):
    """The portal as a whole: the last 14 days (UTC), the newest deployments, and what needs a hand."""

    class Day(Answer):
        """How many creations of stacks ended on a day, and how."""

        day: date
        succeeded: int
        failed: int
        canceled: int

    class Step(Answer):
        """How long a step of a creation took, in seconds."""

        name: str
        median: float
        slow: float
        """What only the slowest 5 % took longer than."""

    class Stacks(Answer):
        """How many stacks are in each state.

        failed, canceled: such was their last redeployment, and they are there all the same; left: they are to go, and
        some of it could not be removed.
        """

        running: int = 0
        deploying: int = 0
        undoing: int = 0
        removing: int = 0
        failed: int = 0
        canceled: int = 0
        left: int = 0

    at: datetime
    stacks: Stacks
    max_stacks: int | None
    """How many stacks there may be; null: as many as anybody likes."""
    nearly_full: bool
    """Whether the places for stacks run out: from 80 % of them on."""
    waiting: int
    """Deployments that nobody works on yet, here or in Dokploy's line."""
    success: float | None
    """Which share of the creations that ended in these days has succeeded."""
    median_seconds: float | None
    """From the request until the stack was ready."""
    measured: int
    """Of how many creations the median and the steps are: the newest that succeeded, at most 500."""
    days: list[Day]
    """Oldest first; the last is today."""
    steps: list[Step]
    latest: list[DeploymentSummary]
    leftovers: list[LeftoversAnswer.Item]
    """The oldest ones; `/api/leftovers` lists all of them."""


def leftovers_answer(page: Page[Leftover]) -> LeftoversAnswer:
    """Return a page of leftovers as JSON."""
    return LeftoversAnswer(items=[_leftover(each) for each in page.items], next_cursor=page.next_cursor)


def _leftover(leftover: Leftover) -> LeftoversAnswer.Item:
    return LeftoversAnswer.Item(
        **asdict(leftover),
        needs_operator=leftover.needs_operator,
        status_url=status_url(leftover.deployment_id),
    )


def overview_answer(
    overview: Overview, latest: Sequence[DeploymentRecord], leftovers: Sequence[Leftover], quotas: Quotas
) -> OverviewAnswer:
    """Return the overview of the portal as JSON."""
    return OverviewAnswer(
        at=overview.at,
        stacks=OverviewAnswer.Stacks(**{str(state): count for state, count in overview.stacks.items()}),
        max_stacks=quotas.stacks or None,
        nearly_full=quotas.is_near(overview.all_stacks),
        waiting=overview.waiting,
        success=overview.success,
        median_seconds=overview.seconds,
        measured=overview.measured,
        days=[OverviewAnswer.Day(**asdict(day)) for day in overview.days],
        steps=[OverviewAnswer.Step(**asdict(step)) for step in overview.steps],
        latest=[deployment_summary(each) for each in latest],
        leftovers=[_leftover(each) for each in leftovers],
    )
