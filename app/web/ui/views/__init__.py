"""What each page is given: one frozen dataclass a template, so that a template has nothing else to reach for."""

from app.web.ui.account.view import AccountPage, NewTokenPage, SignInPage
from app.web.ui.api_docs.view import DocsPage
from app.web.ui.deployment.view import DeploymentPage, DeployPage, PlanPreview, RecordPage
from app.web.ui.operator.view import AuditPage, OperatorPage
from app.web.ui.shared.view import (
    ErrorPage,
    Fact,
    LineEnd,
    Moment,
    PastDeployment,
    Section,
    ShownProblem,
    ShownState,
    SmallLine,
    Viewer,
)
from app.web.ui.stacks.view import (
    DeletePage,
    ErasePage,
    OfferedPage,
    OfferPage,
    PasswordPage,
    RedeployPage,
    StackPage,
    StacksPage,
    TakenOverPage,
    TakeOverPage,
)

Page = (
    DocsPage
    | DeployPage
    | DeploymentPage
    | StacksPage
    | StackPage
    | DeletePage
    | ErasePage
    | RedeployPage
    | PasswordPage
    | OfferPage
    | OfferedPage
    | TakeOverPage
    | TakenOverPage
    | RecordPage
    | OperatorPage
    | AuditPage
    | SignInPage
    | AccountPage
    | NewTokenPage
    | ErrorPage
)

__all__ = [
    "AccountPage",
    "AuditPage",
    "DeletePage",
    "DeployPage",
    "DeploymentPage",
    "DocsPage",
    "ErasePage",
    "ErrorPage",
    "Fact",
    "LineEnd",
    "Moment",
    "NewTokenPage",
    "OfferPage",
    "OfferedPage",
    "OperatorPage",
    "Page",
    "PasswordPage",
    "PastDeployment",
    "PlanPreview",
    "RecordPage",
    "RedeployPage",
    "Section",
    "ShownProblem",
    "ShownState",
    "SignInPage",
    "SmallLine",
    "StackPage",
    "StacksPage",
    "TakeOverPage",
    "TakenOverPage",
    "Viewer",
]
