"""Whose something is, as operators read it: an e-mail address where one is known, else what kind of somebody."""

from collections.abc import Iterable

from app.i18n import Language
from app.portal import Portal
from app.web.ui.record.routes import ACTORS


async def owners_in_words(portal: Portal, owners: Iterable[str], language: Language) -> dict[str, str]:
    """Each owner in words."""
    words = {}
    for owner in set(owners):
        kind, _, account_id = owner.partition(":")
        found = await portal.accounts.find(account_id) if kind == "account" else None
        email = found.claims.email if found is not None else None
        words[owner] = email or language.text(ACTORS.get(kind, kind))
    return words
