"""The JSON of stacks: those there are, their removal, and the volumes kept of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from app.stacks.model import StackState, StackView
from app.stacks.volumes import KeptFiles
from app.store.paging import Page
from app.web.api.schemas.base import Answer, PageAnswer
from app.web.api.schemas.deployments import status_url


class StackAnswer(Answer):
    """One stack that the caller manages."""

    name: str
    url: str
    state: Literal["deploying", "running", "removing", "failed"]
    template: str
    created_at: datetime
    deployment_id: str
    status_url: str
    password: str | None = None
    """Only where one stack is asked for: what its container was last started with."""
    password_pending: bool = False
    """Whether a change of the password is not finished: the next redeployment does that."""
    user_name: str = "opencode"


class KeptAnswer(Answer):
    """Files that were kept when their stack was removed."""

    name: str
    volume: str
    since: datetime


class StacksAnswer(PageAnswer):
    """The stacks that the caller manages, newest first."""

    items: list[StackAnswer]


class KeptFilesAnswer(PageAnswer):
    """Volumes kept from deleted stacks, the last deleted first."""

    items: list[KeptAnswer]


class RemovalAnswer(Answer):
    """How far a removal is."""

    removed: bool
    deployment_id: str
    status_url: str
    events_url: str
    resources: list[str]
    """Kinds of what was removed, where it is over."""


_STATES: Final[Mapping[StackState, Literal["deploying", "running", "removing", "failed"]]] = {
    StackState.DEPLOYING: "deploying",
    StackState.UNDOING: "removing",
    StackState.REMOVING: "removing",
    StackState.RUNNING: "running",
    StackState.FAILED: "failed",
    StackState.CANCELED: "failed",
    StackState.LEFT: "failed",
}


def stack_answer(view: StackView, *, password: str | None = None) -> StackAnswer:
    """Return a stack as JSON."""
    stack, newest = view.stack, view.newest
    return StackAnswer(
        name=stack.name,
        url=stack.plan["url"],
        state=_STATES[view.state],
        template=stack.template,
        created_at=stack.created_at,
        deployment_id=newest.id,
        status_url=status_url(newest.id),
        password=password,
        password_pending=stack.is_password_pending,
    )


def stacks_answer(page: Page[StackView]) -> StacksAnswer:
    """Return a page of stacks as JSON."""
    return StacksAnswer(items=[stack_answer(each) for each in page.items], next_cursor=page.next_cursor)


def kept_files_answer(page: Page[KeptFiles]) -> KeptFilesAnswer:
    """Return a page of kept files as JSON."""
    items = [KeptAnswer(name=each.name, volume=each.volume, since=each.since) for each in page.items]
    return KeptFilesAnswer(items=items, next_cursor=page.next_cursor)
