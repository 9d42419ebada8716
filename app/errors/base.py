"""The errors that have a code, and the one for settings.

Each is told to three people: a code for programs, words and a hint for the user, detail for the log. How a code becomes
an HTTP status is the web side's business, and how its words become Dutch or Arabic is that of `app.i18n`.
"""

from collections.abc import Mapping

from app.errors.catalog import PROBLEMS


class PortalError(Exception):
    """Something went wrong that has a code.

    `log` is for the operator's log only and never shown to a user. Parameters are plain values: text or numbers.
    """

    def __init__(self, code: str, *, log: str = "", field: str | None = None, **params: str | float) -> None:
        self.code = code
        self.problem = PROBLEMS[code]
        self.params: Mapping[str, str | int | float] = params
        self.field = field
        self.log = log
        super().__init__(f"{code}: {log}" if log else code)


class SettingsError(Exception):
    """A setting is missing or malformed; the message is the one line that the operator reads."""
