"""Markers: the descriptions by which the portal recognizes its projects and applications in Dokploy."""

import re
from dataclasses import dataclass
from typing import Final, Self

_FORM: Final = re.compile(r"asd:(?P<installation>[0-9A-Z]{26}):(?P<stack_id>[0-9A-Z]{26})")


@dataclass(frozen=True)
class Marker:
    """Whose a resource is. installation: the portal's id; stack_id: the stack's. Both are ULIDs.

    Raises ValueError where they are not: nothing would recognize such a marker again.
    """

    installation: str
    stack_id: str

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(str(self)):
            raise ValueError(f"not a marker: {self}")

    def __str__(self) -> str:
        return f"{search_text_of(self.installation)}{self.stack_id}"

    @classmethod
    def read(cls, description: str | None) -> Self | None:
        """Read a description; None where it is anything but a whole marker."""
        found = _FORM.fullmatch(description or "")
        return cls(**found.groupdict()) if found else None

    def is_on(self, description: str | None) -> bool:
        """Whether a description is this marker. One that only contains it is somebody's own text."""
        return self.read(description) == self

    @property
    def search_text(self) -> str:
        """What to ask Dokploy for: a part of this marker that no other stack's has."""
        return self.stack_id


def search_text_of(installation: str) -> str:
    """What to ask Dokploy for: how every marker of an installation begins."""
    return f"asd:{installation}:"
