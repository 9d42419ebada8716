"""Markers: the descriptions by which the portal recognizes its projects and applications in Dokploy."""

import re
from dataclasses import dataclass
from typing import Final, Self

from app.store.schema import DEFAULT_SERVER

_FORM: Final = re.compile(
    r"asd:(?P<installation>[0-9A-Z]{26}):(?:(?P<server_id>[a-z0-9-]{1,40}):)?(?P<stack_id>[0-9A-Z]{26})"
)


@dataclass(frozen=True)
class Marker:
    """Whose a resource is. installation: the portal's id; server_id: the Dokploy server's; stack_id: the stack's.

    Raises ValueError where a part has another form: nothing would recognize such a marker again.
    """

    installation: str
    server_id: str
    stack_id: str

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(f"asd:{self.installation}:{self.server_id}:{self.stack_id}"):
            raise ValueError(f"not a marker: {self}")

    def __str__(self) -> str:
        # The default server is left out. An older portal beside this one, or after a step back to its image, compares
        # whole texts: it would create such a stack's resources twice, and `reconcile --repair` would delete them.
        server = "" if self.server_id == DEFAULT_SERVER else f"{self.server_id}:"
        return f"{search_text_of(self.installation)}{server}{self.stack_id}"

    @classmethod
    def read(cls, description: str | None) -> Self | None:
        """Read a description, with the default server left out or not; None where it is anything but a whole marker."""
        if found := _FORM.fullmatch(description or ""):
            return cls(found["installation"], found["server_id"] or DEFAULT_SERVER, found["stack_id"])
        return None

    def is_on(self, description: str | None) -> bool:
        """Whether a description is this marker. One that only contains it is somebody's own text."""
        return self.read(description) == self

    @property
    def search_text(self) -> str:
        """What to ask Dokploy for: a part that every form of this marker has, and no other stack's."""
        return self.stack_id


def search_text_of(installation: str) -> str:
    """Return how every marker of an installation begins, to search Dokploy for."""
    return f"asd:{installation}:"
