"""Links between the pages of a list: newer and older, by cursors, so that they work without a script."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from app.store.paging import Page


@dataclass(frozen=True)
class PageLinks:
    """Where the pages beside one are; empty where there is none. is_first: whether this one is the newest."""

    newer: str = ""
    older: str = ""
    is_first: bool = True


ONE_PAGE: Final = PageLinks()
"""Of a list that has no more than is shown."""


def links_of(
    page: Page[Any], address: str, cursor: str | None, *, parameter: str = "cursor", anchor: str = "", **query: str
) -> PageLinks:
    """Return the links of a page of a list.

    cursor: by which it was found; parameter: which one of the address has the cursor, where a page has several lists;
    anchor: where on the page the list is; query: what else the address says.
    """

    def link(cursor: str | None) -> str:
        said = {name: value for name, value in {**query, parameter: cursor}.items() if value}
        return f"{address}{'?' if said else ''}{urlencode(said)}{'#' if anchor else ''}{anchor}"

    # A page that has become empty since its link was made leads back to the beginning.
    has_newer = cursor is not None and (page.previous_cursor is not None or not page.items)
    return PageLinks(
        newer=link(page.previous_cursor) if has_newer else "",
        older=link(page.next_cursor) if page.next_cursor else "",
        is_first=cursor is None or (page.previous_cursor is None and bool(page.items)),
    )
