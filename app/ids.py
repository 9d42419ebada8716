"""Ids of records: ULIDs, which sort by their time of creation."""

import re
import secrets
import time

from ulid import ULID


def new_id() -> str:
    """Make an id: a ULID of this moment, with 80 fresh random bits.

    The library's own counts up within a millisecond, and whoever knows a deployment's id may read its record.
    """
    return str(ULID.from_bytes((time.time_ns() // 10**6).to_bytes(6, "big") + secrets.token_bytes(10)))


def could_be_id(text: str) -> bool:
    """Whether something of ours can have this id."""
    return re.fullmatch(r"[0-9A-Z]{26}", text) is not None
