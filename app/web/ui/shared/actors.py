"""Actors and owners in words: an email address where one is known, else what kind of actor it is."""

from collections.abc import Iterable
from typing import Final

from app.audit import Actor, Means
from app.errors import N_
from app.i18n import Language
from app.portal import Portal

ACTORS: Final = {
    "account": N_("Somebody with an account"),
    "browser": N_("A browser"),
    "key": N_("A manage key"),
    "operator": N_("The operator"),
    "portal": N_("The portal"),
    "anonymous": N_("Nobody known"),
}

MEANS: Final = {
    Means.NOTHING: N_("Not signed in"),
    Means.BROWSER: N_("A browser's cookie"),
    Means.MANAGE_KEY: N_("A manage key"),
    Means.TOKEN: N_("A token"),
    Means.SESSION: N_("Signed in"),
    Means.PROXY: N_("The proxy in front"),
    Means.ADMIN_TOKEN: N_("The operator's token"),
    Means.PORTAL: N_("The portal by itself"),
    Means.COMMAND_LINE: N_("The command line"),
}


def actor_in_words(actor: Actor, language: Language) -> str:
    """Name an actor. Which of all browsers it was is left out."""
    return actor.email or kind_in_words(actor.kind, language)


def kind_in_words(kind: str, language: Language) -> str:
    """Say what kind of actor it is."""
    return language.text(ACTORS.get(kind, kind))


async def owners_in_words(portal: Portal, owners: Iterable[str], language: Language) -> dict[str, str]:
    """Name each owner of stacks or tokens."""
    parts = {owner: owner.partition(":") for owner in owners}
    emails = await portal.accounts.emails({name for kind, _, name in parts.values() if kind == "account"})
    return {
        owner: (kind == "account" and emails.get(name)) or kind_in_words(kind, language)
        for owner, (kind, _, name) in parts.items()
    }
