"""What the pages of stacks are given: all of somebody's, one of them, changing it, handing it over."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.web.effects import LogRow
from app.web.ui.shared.qr import QrCode
from app.web.ui.shared.view import Moment, PastDeployment, Section, ShownProblem, ShownState


@dataclass(frozen=True)
class StacksPage:
    """The stacks that the viewer manages, newest first, a page at a time.

    everybody: whether these are everybody's; of_browser: whether they belong to this browser, and to no account;
    lately: how it ended with those that are gone; kept: their files; after: the id of the last stack here where there
    are more; first: whether these are the newest.
    """

    template: ClassVar[str] = "stacks/stacks.html"
    section: ClassVar[Section] = "stacks"

    @dataclass(frozen=True)
    class Row:
        """One stack. last: its newest deployment; owner: whose it is in words, where the stacks are everybody's."""

        name: str
        host: str
        state: ShownState
        version: str
        last: PastDeployment
        owner: str = ""

    @dataclass(frozen=True)
    class Kept:
        """Files of a stack that is gone."""

        name: str
        volume: str
        since: Moment

    rows: Sequence[Row]
    lately: Sequence[PastDeployment]
    kept: Sequence[Kept] = ()
    everybody: bool = False
    of_browser: bool = True
    after: str | None = None
    first: bool = True


@dataclass(frozen=True)
class StackPage:
    """One stack, for whoever manages it.

    running: the deployment that changes it now; opens: whether its address is worth opening; password: only then;
    password_pending: whether it is being changed, or such a change was not finished; redeployable, deletable: whether
    that would be taken in now; after, first: as in StacksPage, of its deployments.
    """

    template: ClassVar[str] = "stacks/stack.html"
    section: ClassVar[Section] = "stacks"
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
    after: str | None = None
    first: bool = True


@dataclass(frozen=True)
class DeletePage:
    """Asks before a stack is deleted, naming what will be lost."""

    template: ClassVar[str] = "stacks/delete.html"
    section: ClassVar[Section] = "stacks"
    name: str
    host: str
    volume: str


@dataclass(frozen=True)
class RedeployPage:
    """Asks before a stack is deployed again, and says what that does. password_pending: as in StackPage."""

    template: ClassVar[str] = "stacks/redeploy.html"
    section: ClassVar[Section] = "stacks"
    name: str
    password_pending: bool = False


@dataclass(frozen=True)
class OfferPage:
    """Asks before a stack is handed over, and says what that does. is_own: whether it is the viewer's."""

    template: ClassVar[str] = "transfer/offer.html"
    section: ClassVar[Section] = "stacks"
    name: str
    is_own: bool = True


@dataclass(frozen=True)
class OfferedPage:
    """The code with which somebody may take a stack over, this once. address: of the page where he does that."""

    template: ClassVar[str] = "transfer/offered.html"
    section: ClassVar[Section] = "stacks"
    name: str
    code: str
    ends: Moment
    address: str


@dataclass(frozen=True)
class TakeOverPage:
    """Asks for the code, or the manage key, of a stack to take over. problem: why the one that was sent does not do."""

    template: ClassVar[str] = "transfer/take_over.html"
    section: ClassVar[Section] = "stacks"
    problem: ShownProblem | None = None


@dataclass(frozen=True)
class TakenOverPage:
    """A stack that was taken over, with its new manage key, this once."""

    template: ClassVar[str] = "transfer/taken_over.html"
    section: ClassVar[Section] = "stacks"
    name: str
    manage_key: str | None


@dataclass(frozen=True)
class ErasePage:
    """Asks before the files of a stack that is gone are erased."""

    template: ClassVar[str] = "stacks/erase.html"
    section: ClassVar[Section] = "stacks"
    name: str
    volume: str


@dataclass(frozen=True)
class PasswordPage:
    """Asks before a stack's password is changed, and says what that does."""

    template: ClassVar[str] = "stacks/password.html"
    section: ClassVar[Section] = "stacks"
    name: str
