"""Availability of names: whether one is free, why not, and which others near it are."""

from dataclasses import dataclass
from typing import Final

from app.errors import PortalError
from app.stacks.model import is_cleaning_up
from app.stacks.names import suggest_names
from app.stacks.queries import Records
from app.stacks.requester import Requester
from app.stacks.templates import Template

NAME_REFUSED: Final = frozenset({"name_taken", "name_cleaning_up", "name_kept"})
"""Codes that say that somebody else has a name; others near it may be free."""


@dataclass(frozen=True)
class Availability:
    """Whether a name is free. problem: why not; files_kept: the requester kept files of it, which will be used."""

    problem: PortalError | None = None
    files_kept: bool = False


class Names:
    """Looks for names in the portal's own records; never asks Dokploy."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def taken(self, name: str) -> PortalError:
        """Say why a held name cannot be had: it belongs to a stack, or to one that is still being removed."""
        stack = await self._records.find_stack(name)
        newest = await self._records.newest_deployment(stack.id) if stack else None
        code = "name_cleaning_up" if newest is None or is_cleaning_up(newest) else "name_taken"
        return PortalError(code, field="name", name=name)

    async def look(self, name: str, template: Template, requester: Requester) -> Availability:
        """Whether a name can be had now, before anything is asked for."""
        if await self._records.held([name]):
            return Availability(await self.taken(name))
        volume = template.volume_of(name)
        kept = (await self._records.kept_of([volume])).get(volume)
        if kept is None:
            return Availability()
        if requester.may_use(kept):
            return Availability(files_kept=True)
        return Availability(PortalError("name_kept", field="name", name=name))

    async def suggest(self, name: str, reserved: tuple[str, ...], template: Template) -> list[str]:
        """Up to three names near a taken one that are free."""
        wanted = suggest_names(name)
        not_free = await self._records.held(wanted) | {word.lower() for word in reserved}
        kept = await self._records.kept_of([template.volume_of(word) for word in wanted])
        free = (word for word in wanted if word not in not_free and template.volume_of(word) not in kept)
        return list(free)[:3]
