"""What the page for signing in is given: the ways in that AUTH_MODE has."""

from dataclasses import dataclass

from app.i18n import Language
from app.portal import Portal
from app.web.problems import ShownProblem
from app.web.ui.shared.view import Page


@dataclass(frozen=True)
class SignInPage(Page):
    """Where a viewer signs in. next: where they go on; possible: whether an operator's token is set to sign in with.

    problem: why they were refused; ended: whether they were signed in before; provider: whether there is a provider to
    sign in at; proxy: whether a proxy in front of the portal does it. Where there is neither, only operators sign in.
    lasts: for how long, in words; left: whether they have just signed out; there_too: where they sign out of the
    provider.
    """

    template = "sign_in/sign_in.html"
    section = "account"
    next: str
    possible: bool = True
    problem: ShownProblem | None = None
    ended: bool = False
    provider: bool = False
    proxy: bool = False
    lasts: str = ""
    left: bool = False
    there_too: str = ""


def sign_in_page(
    portal: Portal, there: str, language: Language, *, problem: ShownProblem | None = None, ended: bool = False
) -> SignInPage:
    """Show the page for signing in, as AUTH_MODE has it."""
    settings = portal.settings
    return SignInPage(
        there,
        possible=settings.admin_token is not None,
        problem=problem,
        ended=ended,
        provider=settings.auth_mode == "oidc",
        proxy=settings.auth_mode == "proxy",
        lasts=language.plural(
            "You stay signed in for {count} hour.", "You stay signed in for {count} hours.", settings.session_hours
        ),
    )
