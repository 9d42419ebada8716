"""Pages of lists: how long one is, where it begins, and the opaque cursors that lead to the next and the one before."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, DateTime, Row, Select, String, TypeDecorator, literal, tuple_

from app.errors import PortalError

T = TypeVar("T")

USUAL_LIMIT: Final = 20
MAX_LIMIT: Final = 100
# The longest that this module makes is below half of it.
_LONGEST: Final = 400
_LONGEST_TEXT: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FORWARD, _BACKWARD = "next", "previous"


@dataclass(frozen=True)
class PageRequest:
    """What a reader asks for. limit: at most so many rows; cursor: from a page before; None: the first page."""

    limit: int = USUAL_LIMIT
    cursor: str | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of a list. next_cursor, previous_cursor: lead to the pages beside it; None where there is none."""

    items: Sequence[T]
    next_cursor: str | None = None
    previous_cursor: str | None = None


@dataclass(frozen=True)
class Order:
    """The order of a list, in which no two rows are equal.

    name: of the list, so that a cursor of another one does not fit; columns: not nullable, all in the same direction,
    which an index has in this order.
    """

    name: str
    columns: Sequence[ColumnElement[Any]]
    descending: bool = True

    def select(self, query: Select[Any], request: PageRequest) -> Select[Any]:
        """Hold a query to a page and one row more, nearest to the cursor first. Raises PortalError `cursor_invalid`."""
        forward, position = self._position(request.cursor)
        down = self.descending is forward
        keys = [column.label(f"page_key_{number}") for number, column in enumerate(self.columns)]
        query = query.add_columns(*keys).limit(request.limit + 1)
        if position is not None:
            here, there = tuple_(*self.columns), tuple_(*position)
            query = query.where(here < there if down else here > there)
        return query.order_by(*(column.desc() if down else column.asc() for column in self.columns))

    def page(
        self, read: Callable[[Select[Any]], Sequence[tuple[Row[Any], T]]], query: Select[Any], request: PageRequest
    ) -> Page[T]:
        """Read one page. read: answers a query with its rows, and what each becomes.

        Raises PortalError `cursor_invalid`. What is added or removed meanwhile changes nothing about the rows after a
        cursor: none comes twice, and none is left out.
        """
        found = read(self.select(query, request))
        is_forward, position = self._position(request.cursor)
        has_more = len(found) > request.limit
        if not is_forward and not has_more:
            # The beginning is reached: a whole first page rather than the few rows before the cursor.
            return self.page(read, query, PageRequest(request.limit))
        shown = found[: request.limit] if is_forward else found[: request.limit][::-1]
        if not shown:
            return Page([])
        return Page(
            [item for _, item in shown],
            self._cursor(shown[-1][0], _FORWARD) if has_more or not is_forward else None,
            self._cursor(shown[0][0], _BACKWARD) if position is not None else None,
        )

    def _position(self, cursor: str | None) -> tuple[bool, list[ColumnElement[Any]] | None]:
        """Whether a cursor leads on rather than back, and the values of the row that it stands for."""
        if cursor is None:
            return True, None
        name, direction, *values = _decoded(cursor)
        if name != self.name or direction not in (_FORWARD, _BACKWARD) or len(values) != len(self.columns):
            raise PortalError("cursor_invalid", field="cursor")
        pairs = zip(values, self.columns, strict=True)
        return direction == _FORWARD, [literal(_value(value, column), column.type) for value, column in pairs]

    def _cursor(self, row: Row[Any], direction: str) -> str:
        values = [_plain(getattr(row, f"page_key_{number}")) for number in range(len(self.columns))]
        said = json.dumps([self.name, direction, *values], separators=(",", ":"))
        return base64.urlsafe_b64encode(said.encode()).rstrip(b"=").decode()


def no_rows(request: PageRequest) -> Page[Any]:
    """Return the page of a list in which there is nothing. Raises PortalError `cursor_invalid`, as every list does."""
    if request.cursor is not None:
        _decoded(request.cursor)
    return Page([])


async def every(read: Callable[[PageRequest], Awaitable[Page[T]]], *, at_once: int = MAX_LIMIT) -> AsyncIterator[T]:
    """Every row of a list, a page in memory at a time."""
    request = PageRequest(at_once)
    while True:
        page = await read(request)
        for each in page.items:
            yield each
        if page.next_cursor is None:
            return
        request = PageRequest(at_once, page.next_cursor)


def _decoded(cursor: str) -> list[Any]:
    """Read a cursor that anybody may have made up. Raises PortalError `cursor_invalid`."""
    if len(cursor) > _LONGEST:
        raise PortalError("cursor_invalid", field="cursor")
    try:
        text = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        said = json.loads(text.decode("utf-8"))
    except ValueError:
        raise PortalError("cursor_invalid", field="cursor") from None
    if not isinstance(said, list) or len(said) < 2:
        raise PortalError("cursor_invalid", field="cursor")
    return said


def _value(value: object, column: ColumnElement[Any]) -> object:
    """Read a value for a column. Raises PortalError `cursor_invalid`."""
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    try:
        if isinstance(kind, DateTime) and type(value) is int:
            return _EPOCH + value * _MICROSECOND
    except OverflowError:
        raise PortalError("cursor_invalid", field="cursor") from None
    if isinstance(kind, String) and isinstance(value, str) and len(value) <= _LONGEST_TEXT and value.isprintable():
        return value
    raise PortalError("cursor_invalid", field="cursor")


def _plain(value: object) -> object:
    """Write a value for JSON: a moment as microseconds since 1970, so that no digit is lost."""
    return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
