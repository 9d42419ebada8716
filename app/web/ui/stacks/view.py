"""What the pages of stacks are given: all of a viewer's stacks, one of them, and the questions before it is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.deployments.model import DeploymentRecord
from app.i18n import Language
from app.identity import Principal
from app.portal import Portal
from app.stacks.model import STANDING, StackView
from app.stacks.plan import version_of
from app.stacks.volumes import KeptFiles
from app.store.paging import Page as PageOf
from app.store.paging import PageRequest
from app.web.auth.authorization import files_of, stacks_of, whose_stacks
from app.web.effects import LogRow
from app.web.passwords import password_of
from app.web.projector import log_of
from app.web.ui.shared.actors import owners_in_words
from app.web.ui.shared.certificates import planned_certificate
from app.web.ui.shared.events import events_of
from app.web.ui.shared.paging import ONE_PAGE, PageLinks, links_of
from app.web.ui.shared.qr import QrCode, qr_code
from app.web.ui.shared.states import shown_state
from app.web.ui.shared.timeline import moment, past_deployment
from app.web.ui.shared.view import Moment, Page, PastDeployment, ShownState

PAGE: Final = 50
LATELY: Final = 5
NOTHING: Final = PageOf[KeptFiles]([])


@dataclass(frozen=True)
class StacksPage(Page):
    """The stacks that the viewer manages, newest first, a page at a time.

    everybody: whether these are all users' stacks; of_browser: whether they belong to this browser and no account;
    lately: how deleted ones ended; kept: their files; links, kept_links: to more stacks, and to more kept files.
    """

    template = "stacks/stacks.html"
    section = "stacks"

    @dataclass(frozen=True)
    class Row:
        """One stack. last: its newest deployment; owner: in words, where these are all users' stacks."""

        name: str
        host: str
        state: ShownState
        version: str
        last: PastDeployment
        owner: str = ""

    @dataclass(frozen=True)
    class Kept:
        """Files of a deleted stack."""

        name: str
        volume: str
        since: Moment

    rows: Sequence[Row]
    lately: Sequence[PastDeployment]
    kept: Sequence[Kept] = ()
    everybody: bool = False
    of_browser: bool = True
    links: PageLinks = ONE_PAGE
    kept_links: PageLinks = ONE_PAGE


@dataclass(frozen=True)
class StackPage(Page):
    """One stack, for the users who manage it.

    running: the deployment that changes it now; opens: whether its address is worth opening; password: only then;
    password_pending: whether it is being changed, or a change was not finished; redeployable, deletable: whether that
    is possible now; links: to more of its deployments.
    """

    template = "stacks/stack.html"
    section = "stacks"
    name: str
    host: str
    url: str
    state: ShownState
    newest: str
    opens: bool
    redeployable: bool
    deletable: bool
    image: str
    version: str
    port: int
    memory: str
    cpus: str
    volume: str
    volume_path: str
    certificate: str
    created: Moment
    deployments: Sequence[PastDeployment]
    log: Sequence[LogRow]
    running: str | None = None
    password: str | None = None
    password_pending: bool = False
    user_name: str = "opencode"
    qr: QrCode | None = None
    links: PageLinks = ONE_PAGE


@dataclass(frozen=True)
class DeletePage(Page):
    """Asks before a stack is deleted, naming what will be lost."""

    template = "stacks/delete.html"
    section = "stacks"
    name: str
    host: str
    volume: str


@dataclass(frozen=True)
class RedeployPage(Page):
    """Asks before a stack is redeployed, and says what that does. password_pending: as in StackPage."""

    template = "stacks/redeploy.html"
    section = "stacks"
    name: str
    password_pending: bool = False


@dataclass(frozen=True)
class PasswordPage(Page):
    """Asks before a stack's password is changed, and says what that does."""

    template = "stacks/password.html"
    section = "stacks"
    name: str


@dataclass(frozen=True)
class ErasePage(Page):
    """Asks before the files of a deleted stack are erased."""

    template = "stacks/erase.html"
    section = "stacks"
    name: str
    volume: str


async def stacks_page(
    portal: Portal, principal: Principal, language: Language, *, cursor: str | None, kept_cursor: str | None
) -> StacksPage:
    """Read the stacks that a caller manages, and what became of deleted ones, and show them.

    cursor, kept_cursor: of stacks, and of kept files. Raises PortalError `cursor_invalid`.
    """
    views = await stacks_of(portal, principal, PageRequest(PAGE, cursor))
    links = links_of(views, "/stacks", cursor)
    whose = whose_stacks(principal)
    gone: Sequence[DeploymentRecord] = []
    if whose is not None and links.is_first and not principal.is_operator:
        gone = await portal.records.lately_gone(whose, limit=LATELY)
    # Only beside the newest stacks: what is kept has pages of its own.
    kept = await files_of(portal, principal, PageRequest(PAGE, kept_cursor)) if links.is_first else NOTHING
    owners = {}
    if principal.is_operator:
        owners = await owners_in_words(portal, [view.stack.owner for view in views.items], language)
    return StacksPage(
        rows=[_row(view, owners.get(view.stack.owner, ""), language) for view in views.items],
        lately=[past_deployment(record, language, title=record.name) for record in gone],
        kept=[StacksPage.Kept(each.name, each.volume, moment(each.since, language)) for each in kept.items],
        everybody=principal.is_operator,
        of_browser=portal.settings.auth_mode == "open",
        links=links,
        kept_links=links_of(kept, "/stacks", kept_cursor, parameter="kept", anchor="kept"),
    )


def _row(view: StackView, owner: str, language: Language) -> StacksPage.Row:
    return StacksPage.Row(
        name=view.stack.name,
        host=view.stack.plan["host"],
        state=shown_state(view.state, language),
        version=version_of(view.stack.plan["image"]),
        last=past_deployment(view.newest, language),
        owner=owner,
    )


async def stack_page(
    portal: Portal, principal: Principal, view: StackView, language: Language, *, cursor: str | None
) -> StackPage:
    """Read what belongs to a stack, and show it: its state, access, parts, and deployments."""
    stack, newest = view.stack, view.newest
    deployments = await portal.records.deployments_of(stack.id, PageRequest(PAGE, cursor))
    plan, state = stack.plan, view.state
    return StackPage(
        name=stack.name,
        host=plan["host"],
        url=plan["url"],
        state=shown_state(state, language),
        newest=newest.id,
        opens=view.opens,
        redeployable=state in STANDING,
        deletable=newest.conclusion is not None,
        image=plan["image"],
        version=version_of(plan["image"]),
        port=plan["port"],
        memory=language.size(plan["memory_bytes"]),
        cpus=language.number(plan["cpus"], 2),
        volume=plan["volume"],
        volume_path=plan["volume_path"],
        certificate=planned_certificate(plan, language),
        created=moment(stack.created_at, language),
        deployments=[past_deployment(record, language) for record in deployments.items],
        log=log_of(newest, await events_of(portal, newest), language),
        running=newest.id if newest.conclusion is None else None,
        password=await password_of(portal, principal, stack) if view.opens else None,
        password_pending=stack.is_password_pending,
        qr=qr_code(plan["url"]) if view.opens else None,
        links=links_of(deployments, f"/stacks/{stack.name}", cursor, anchor="deployments"),
    )
