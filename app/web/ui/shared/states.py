"""States of stacks, in words and with their dot."""

from typing import Final

from app.errors import N_
from app.i18n import Language
from app.stacks.model import StackState
from app.web.ui.shared.view import ShownState

_STATES: Final = {
    StackState.DEPLOYING: ShownState(N_("Deploying"), "half"),
    StackState.UNDOING: ShownState(N_("Being undone"), "undone"),
    StackState.REMOVING: ShownState(N_("Removing"), "undone"),
    StackState.RUNNING: ShownState(N_("Running"), "run"),
    StackState.FAILED: ShownState(N_("Not deployed again"), "failed"),
    StackState.CANCELED: ShownState(N_("Not deployed again"), "off"),
    StackState.LEFT: ShownState(N_("Something is left"), "failed"),
}


def shown_state(state: StackState, language: Language) -> ShownState:
    """Say a stack's state in a language."""
    shown = _STATES[state]
    return ShownState(language.text(shown.words), shown.dot)
