"""Which page of a list a request asks for."""

from typing import Annotated

from fastapi import Depends, Query

from app.store.paging import MAX_LIMIT, USUAL_LIMIT, PageRequest


def page_of(
    limit: Annotated[
        int,
        Query(ge=1, le=MAX_LIMIT, description=f"Maximum number of items: 1 to {MAX_LIMIT}, by default {USUAL_LIMIT}."),
    ] = USUAL_LIMIT,
    cursor: Annotated[
        str | None, Query(description="`nextCursor` of the page before; without it, the first page.")
    ] = None,
) -> PageRequest:
    """Return the page that a program asks for."""
    return PageRequest(limit, cursor)


PageDep = Annotated[PageRequest, Depends(page_of)]
