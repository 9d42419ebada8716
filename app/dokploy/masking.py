"""Masking: removes secrets from foreign texts, in every form in which a server or a library may repeat them."""

import base64
import html
import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import quote

MASKED: Final = "[masked]"
# A shorter value, such as a flag, is no secret, and cutting it out would only make texts unreadable.
SHORTEST: Final = 6
# Of a longer text only the beginning is looked at.
_SEEN: Final = 8_000
# As many secrets as are remembered beside those that always count; the one that was added or met last goes last.
_MOST: Final = 2000


class Mask:
    """Knows secrets, and takes them out of texts."""

    def __init__(self, always: Iterable[str] = ()) -> None:
        """Know the secrets of `always`, of any length, for good."""
        self._always = _forms(always)
        self._remembered: dict[str, tuple[str, ...]] = {}

    def add(self, secrets: Iterable[str]) -> None:
        """Remember secrets; short ones, and the oldest of too many, are left out."""
        for secret in secrets:
            if len(secret) >= SHORTEST:
                self._remembered[secret] = self._remembered.pop(secret, ()) or _forms([secret])
        while len(self._remembered) > _MOST:
            del self._remembered[next(iter(self._remembered))]

    def __call__(self, text: str, *, most: int, also: Iterable[str] = ()) -> str:
        """Return at most `most` characters of a text, without the known secrets and those of `also`."""
        known = (self._always, _forms(also), *self._remembered.values())
        seen = _without(known, text[:_SEEN])
        if len(text) > _SEEN:
            # The first half of a secret may stand at the cut.
            seen = seen[: max(0, len(seen) - max((len(form) for forms in known for form in forms), default=0))]
        return seen[:most]

    def whole(self, text: str) -> str:
        """All of a text of ours, such as a line of the log, without what is known."""
        return _without((self._always, *self._remembered.values()), text)


def _without(known: Iterable[Iterable[str]], text: str) -> str:
    found = [form for forms in known for form in forms if form in text]
    for form in sorted(found, key=len, reverse=True):  # one may be a part of another
        text = text.replace(form, MASKED)
    return text


def _forms(secrets: Iterable[str]) -> tuple[str, ...]:
    return tuple(form for secret in filter(None, secrets) for form in _forms_of(secret))


@lru_cache(maxsize=2 * _MOST)
def _forms_of(secret: str) -> frozenset[str]:
    """Yield the forms of a secret: plain, base64, JSON, URL, HTML and Python, also nested."""
    octets = secret.encode(errors="surrogatepass")
    forms = {secret}
    for _ in range(_DEPTH):
        forms |= {write(form) for form in forms for write in _WRITERS}
    encoded = {base64.b64encode(octets), base64.urlsafe_b64encode(octets)}
    return frozenset(forms | {each.decode().rstrip("=") for each in encoded})


def _quoted(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="")


# Most secrets are letters and digits, and the same in all of them.
_WRITERS: Final[tuple[Callable[[str], str], ...]] = (
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    lambda text: repr(text)[1:-1],
    html.escape,
    _quoted,
    lambda text: _quoted(text).replace("%20", "+"),
    lambda text: _quoted(text).replace("%2F", "/"),
)
# A request in JSON that is repeated in a page that is repeated in an address.
_DEPTH: Final = 3


def printable(text: str) -> str:
    """Write out characters that a terminal would obey or that change the reading direction."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
