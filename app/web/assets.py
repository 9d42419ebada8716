"""Static files and their addresses."""

from functools import lru_cache
from hashlib import sha256
from typing import Final

from app.resources import folder

STATIC_DIR: Final = folder("static")


@lru_cache(maxsize=64)
def asset(name: str) -> str:
    """Return the address of a static file; it changes with the content, so that browsers may keep it for ever."""
    return f"/static/{name}?v={sha256((STATIC_DIR / name).read_bytes()).hexdigest()[:12]}"
