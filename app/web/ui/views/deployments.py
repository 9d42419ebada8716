"""What the pages of deployments are given: the form, the progress and the result, the record."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.web.effects import LogRow, QueuePlace, Station
from app.web.ui.shared.qr import QrCode
from app.web.ui.views.parts import Fact, Moment, Section, ShownProblem


@dataclass(frozen=True)
class PlanPreview:
    """What a deployment would do, in the viewer's language. blocked: what would keep it from beginning."""

    sentences: Sequence[str] = ()
    facts: Sequence[Fact] = ()
    warnings: Sequence[str] = ()
    blocked: Sequence[ShownProblem] = ()


@dataclass(frozen=True)
class DeployPage:
    """The form. name: what was typed; problem: why it was refused; suggestions: free names near it; plan: if wanted.

    origin: scheme and host by which the portal was reached, for search engines, which want whole addresses.
    """

    template: ClassVar[str] = "deploy.html"
    section: ClassVar[Section] = "deploy"
    name: str
    suffix: str
    url_prefix: str
    stations: Sequence[Station]
    problem: ShownProblem | None = None
    suggestions: Sequence[str] = ()
    plan: PlanPreview | None = None
    minimum: int = 3
    maximum: int = 30
    origin: str = ""


@dataclass(frozen=True)
class DeploymentPage:
    """Progress while it runs, the result or the reasons when it is over.

    begins_stack: whether it creates the stack; ends_stack: whether it removes it; status, undoing and conclusion:
    as in the record; sentence: the newest event in words; last_event: number after which the page goes on reading;
    clock: the server's moment now (ISO 8601), from which the page's script knows how far the reader's clock is off;
    qr: the address of a stack that runs, to scan; volume_path: where its files are; manager: whether this browser
    may cancel, delete and see the password; cancelable: running and not yet cancelled; password: only for a manager
    of a stack that runs; warnings, removed, leftovers: in the viewer's language; kept: the volume that a removal
    has kept, as long as it is; changed_by: the deployment after which a stack that was ready is there no more, or
    not yet gone; changes_password: whether the stack gets another password by it; erased: whether nothing but the
    files of a stack that was gone is removed by it; log_expired: a sentence, where the log was deleted.
    """

    template: ClassVar[str] = "deployment.html"
    section: ClassVar[Section] = "deploy"
    id: str
    begins_stack: bool
    ends_stack: bool
    name: str
    host: str
    url: str
    image: str
    status: str
    undoing: bool
    conclusion: str | None
    sentence: str
    stations: Sequence[Station]
    log: Sequence[LogRow]
    last_event: int
    manager: bool
    cancelable: bool
    clock: str = ""
    warnings: Sequence[str] = ()
    queue: QueuePlace | None = None
    problem: ShownProblem | None = None
    password: str | None = None
    user_name: str = "opencode"
    removed: Sequence[str] = ()
    leftovers: Sequence[str] = ()
    stack_exists: bool = False
    changed_by: str = ""
    qr: QrCode | None = None
    volume_path: str = ""
    kept: str = ""
    changes_password: bool = False
    erased: bool = False
    log_expired: str = ""


@dataclass(frozen=True)
class RecordPage:
    """What is on record of a deployment.

    views: what was declared, what was decided and what was seen, side by side; has_declared: whether the first of them
    was recorded at all; pieces: the stack's things in Dokploy; manager: whether the viewer manages the stack;
    log_expired: a sentence, where the log was deleted.
    """

    template: ClassVar[str] = "record.html"
    section: ClassVar[Section] = "deploy"

    @dataclass(frozen=True)
    class Step:
        """One step. Moments are empty where it never began, or never ended."""

        label: str
        state: str
        attempts: int
        began: Moment | None
        ended: Moment | None
        duration: str

    @dataclass(frozen=True)
    class Piece:
        """Something in Dokploy, as it was left. dokploy_id: empty where it never had one."""

        label: str
        name: str
        state: str
        dokploy_id: str
        changed: Moment

    @dataclass(frozen=True)
    class View:
        """One property, in each of the three views; None: not recorded."""

        label: str
        declared: str | None
        frozen: str | None
        observed: str | None
        differs: bool

    id: str
    name: str
    kind: str
    trigger: str
    actor: str
    outcome: str
    created: Moment
    started: Moment | None
    concluded: Moment | None
    duration: str
    steps: Sequence[Step]
    pieces: Sequence[Piece]
    views: Sequence[View]
    leftovers: Sequence[str]
    has_declared: bool
    over: bool = True
    stack_exists: bool = False
    manager: bool = False
    log_expired: str = ""
