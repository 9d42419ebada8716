"""The command `check`: tests settings, store and Dokploy before the portal starts."""

import asyncio
import json
import secrets
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

import typer
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert

from app.config.settings import Settings, load_settings, require_closed
from app.dokploy import (
    DokployClient,
    DokployDatabaseDown,
    DokployError,
    DokployForbidden,
    DokployKeyRefused,
    DokployUnreadable,
)
from app.dokploy.compatibility import find_misfits
from app.errors import PortalError, SettingsError
from app.logging import configure_logging
from app.security.reencryption import Reencryption
from app.security.vault import Vault, load_keys
from app.stacks.plan import registry_of
from app.stacks.quotas import Quotas, count_stacks
from app.store.engine import Database
from app.store.errors import StoreAway
from app.store.migrations import HEAD, current
from app.web.auth.provider import Provider

# The version that the portal was built against.
_KNOWN_VERSION: Final = "v0.30."
# A key that is made with Dokploy's defaults allows 5 calls a day; one more shows that this is none.
_CALLS_OF_A_LIMITED_KEY: Final = 5
_LOOK_UP_SECONDS: Final = 10.0
_NEW_KEY: Final = 'make one with "rateLimitEnabled": false, as DEPLOYMENT.md shows'

Resolve = Callable[[str], list[str]]


@dataclass(frozen=True)
class Finding:
    """What became of one item of the list; `do` is empty where nothing is to be done."""

    item: Literal[
        "settings",
        "open",
        "provider",
        "store",
        "stacks",
        "secrets",
        "dokploy",
        "token",
        "version",
        "calls",
        "registry",
        "dns",
    ]
    result: Literal["ok", "warn", "fail", "skip"]
    detail: str
    do: str = ""


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Check settings, sign-in, database, Dokploy, registry and DNS. Exit status 1 if something fails."""
    # Nothing but the findings: what is worth a line of the log is one of them.
    configure_logging("critical", readable=False)
    try:
        settings = load_settings()
    except SettingsError as error:
        found = [Finding("settings", "fail", str(error), "it is read from the environment, or from .env")]
    else:
        found = asyncio.run(examine(settings))
    typer.echo(json.dumps([asdict(each) for each in found]) if as_json else "\n".join(map(_line, found)))
    if any(each.result == "fail" for each in found):
        raise typer.Exit(1)


async def examine(settings: Settings, resolve: Resolve | None = None) -> list[Finding]:
    """Go through the list. `resolve`: gives a name's addresses or raises OSError; the system's resolver by default."""
    store, is_empty = await _store(settings)
    return [
        Finding("settings", "ok", "they can be read"),
        _open(settings),
        *await _provider(settings),
        *store,
        await _secrets(settings, store[0], is_empty=is_empty),
        *await _dokploy(settings),
        _registry(settings),
        await _dns(settings, resolve or _addresses),
    ]


def _open(settings: Settings) -> Finding:
    """See whether `serve` would start for whoever can reach it."""
    try:
        require_closed(settings)
    except SettingsError as error:
        return Finding("open", "fail", str(error), "until then `serve` does not start")
    if settings.auth_mode == "open":
        return Finding("open", "ok", "AUTH_MODE is open: whoever reaches the portal may deploy")
    return Finding("open", "ok", f"AUTH_MODE is {settings.auth_mode}")


async def _provider(settings: Settings) -> list[Finding]:
    """Read what the OpenID provider says of itself, as signing in does."""
    if settings.auth_mode != "oidc":
        return []
    issuer = settings.oidc_issuer or ""  # the settings see to it
    try:
        await Provider(settings).description()
    except PortalError as error:
        why = _in_one_line(error.log, settings)
        if error.code == "provider_away":
            do = "see that it runs, and that the portal reaches it; until then nobody can sign in"
            return [Finding("provider", "fail", f"{issuer}: no answer ({why})", do)]
        where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        do = f"open {where}, and set OIDC_ISSUER to the `issuer` in it, letter for letter"
        return [Finding("provider", "fail", f"{issuer}: {why}", do)]
    return [Finding("provider", "ok", f"{issuer} answers, and calls itself so")]


async def _store(settings: Settings) -> tuple[list[Finding], bool]:
    """Open the store, read its schema's revision, write something that is gone in the same transaction, and count.

    And say whether it is empty.
    """
    is_sqlite = settings.database_url.startswith("sqlite")
    where = "SQLite" if is_sqlite else "PostgreSQL"
    do = (
        f"see that whoever serves may write the folder of {settings.sqlite_path}, and that its disk is not full"
        if is_sqlite
        else "see that the server of DATABASE_URL runs, and that its user may log in and make tables"
    )
    table = Table(f"check_{secrets.token_hex(6)}", MetaData(), Column("n", Integer))

    def write(connection: Connection) -> None:
        table.create(connection)
        connection.execute(insert(table).values(n=1))
        table.drop(connection)

    database = None
    try:
        database = Database(settings.database_url)
        revision = await current(database)
        await database.write(write)
        stacks = None if revision is None else await database.read(count_stacks)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises is the answer to the question
        cause = error.__cause__ or error
        reason = _in_one_line(str(getattr(cause, "orig", None) or cause), settings) or type(cause).__name__
        return [Finding("store", "fail", f"{where} cannot be written: {reason}", do)], True
    finally:
        if database is not None:
            await database.close()
    if stacks is None or revision is None:
        told = f"{where} can be written; it is empty, and the first start makes its tables"
        return [Finding("store", "ok", told)], True
    state = f"; the next start brings {revision} up to {HEAD}" if revision < HEAD else f", and has schema {revision}"
    store = Finding("store", "ok", f"{where} can be written{state}")
    return [store, _stacks(stacks, Quotas.of(settings))], False


def _stacks(stacks: int, quotas: Quotas) -> Finding:
    """How far the stacks are from the limit."""
    if not quotas.stacks:
        return Finding("stacks", "ok", f"{stacks}; MAX_STACKS sets no limit")
    told = f"{stacks} of {quotas.stacks}"
    if quotas.is_near(stacks):
        return Finding("stacks", "warn", f"{told}: room runs out", "delete what nobody needs, or raise MAX_STACKS")
    return Finding("stacks", "ok", told)


async def _secrets(settings: Settings, store: Finding, *, is_empty: bool) -> Finding:
    """See with which keys of SECRET_KEY the store's secrets are encrypted."""
    if store.result == "fail":
        return Finding("secrets", "skip", "not read: the store is not as it should be")
    if is_empty:
        return Finding("secrets", "ok", "the store keeps none yet")
    database = Database(settings.database_url)
    try:
        ages = await Reencryption(database, Vault(load_keys(settings))).count()
    except (SettingsError, StoreAway) as error:
        return Finding("secrets", "fail", f"they cannot be read: {_in_one_line(str(error), settings)}", "see `store`")
    finally:
        await database.close()
    if ages.unreadable:
        do = "put the key that they were encrypted with back, behind the new one: SECRET_KEY=new,old"
        return Finding("secrets", "fail", f"SECRET_KEY lacks the key of {ages.unreadable}", do)
    if ages.older:
        do = "run `reencrypt`, and leave the older keys out afterwards"
        return Finding("secrets", "warn", f"{ages.older} are under an older key of SECRET_KEY", do)
    return Finding("secrets", "ok", f"all {ages.newest} are under the first key of SECRET_KEY")


async def _dokploy(settings: Settings) -> list[Finding]:
    async with DokployClient(
        settings.dokploy_base,
        settings.dokploy_api_token.get_secret_value(),
        timeout=settings.dokploy_timeout_seconds,
        max_concurrency=settings.dokploy_max_concurrency,
    ) as dokploy:
        try:
            version = _in_one_line(await dokploy.version(), settings)
        except DokployError as error:
            return _without_version(settings, error)
        answers = Finding("dokploy", "ok", f"{settings.dokploy_base} answers")
        known = version.startswith(_KNOWN_VERSION)
        told = Finding(
            "version",
            "ok" if known else "warn",
            version if known else f"{version}; the portal was built against {_KNOWN_VERSION}x",
            "" if known else "look at `calls`, and try a stack before others do",
        )
        # The calls first: they are what a limited key should be spent on.
        calls = await _calls(dokploy)
        return [answers, await _token(dokploy), told, *calls]


def _without_version(settings: Settings, error: DokployError) -> list[Finding]:
    """Describe what is known when the first question failed."""
    answers = Finding("dokploy", "ok", f"{settings.dokploy_base} answers")
    match error:
        case DokployKeyRefused():
            do = f"if DOKPLOY_API_TOKEN is right, its rate limit is used up: {_NEW_KEY}"
            found = [answers, Finding("token", "fail", "Dokploy refuses the key", do)]
        case DokployDatabaseDown():
            do = "see that Dokploy's PostgreSQL runs: docker service ps dokploy-postgres"
            found = [
                Finding("dokploy", "fail", f"{settings.dokploy_base} answers, but its database is down", do),
                Finding("token", "skip", "not tried: Dokploy cannot look it up"),
            ]
        case DokployForbidden():
            found = [
                answers,
                Finding("token", "fail", "the key is right, but not for this", "use an owner's or admin's"),
            ]
        case _:
            readable = not isinstance(error, DokployUnreadable)
            reason = (
                f"no answer ({_in_one_line(error.message, settings)})"
                if error.status is None
                else f"it answers {error.status}"
            )
            do = (
                "see that Dokploy runs, and that DOKPLOY_URL reaches it from where the portal runs"
                if readable
                else "see that DOKPLOY_URL leads to Dokploy itself, and not to a login page or another proxy"
            )
            found = [
                Finding("dokploy", "fail", f"{settings.dokploy_base}: {reason}", do),
                Finding("token", "skip", "not tried: Dokploy does not answer"),
            ]
    return [
        *found,
        Finding("version", "skip", "not known: Dokploy did not tell it"),
        Finding("calls", "skip", "not compared: Dokploy did not tell its version"),
    ]


async def _token(dokploy: DokployClient) -> Finding:
    """Ask once more than a key with Dokploy's default rate limit could: it looks like any other until it is refused."""
    try:
        for _ in range(_CALLS_OF_A_LIMITED_KEY):
            await dokploy.version()
    except DokployKeyRefused:
        return Finding("token", "fail", "the key was accepted, and then refused: it has a rate limit", _NEW_KEY)
    except DokployError as error:
        return Finding("token", "warn", f"the key was accepted once; then {error.call} failed", "run the check again")
    return Finding("token", "ok", "Dokploy accepts the key; should calls be refused later on, it has a rate limit")


async def _calls(dokploy: DokployClient) -> list[Finding]:
    do = "use a version of Dokploy that has it so, or a newer portal; until then deployments fail"
    try:
        misfits = await find_misfits(dokploy)
    except DokployKeyRefused:
        return [Finding("calls", "skip", "not compared: Dokploy no longer takes the key")]
    except DokployError as error:
        status = f"it answers {error.status}" if error.status else "no answer"
        return [Finding("calls", "fail", f"not compared: {error.call}: {status}", "see Dokploy's log; run it again")]
    if not misfits:
        return [Finding("calls", "ok", "Dokploy takes every call that the portal makes")]
    return [Finding("calls", "fail", str(misfit), do) for misfit in misfits]


def _registry(settings: Settings) -> Finding:
    """Compare the registry that the image names with the one that there are credentials for."""
    host = _image_host(settings.stack_image)
    registry = registry_of(settings)
    if registry is None and settings.stack_registry_url is None:
        return Finding("registry", "ok", f"no credentials are set: the image at {host} must be public")
    if registry is None:
        do = "set STACK_REGISTRY_USERNAME and STACK_REGISTRY_PASSWORD, or leave STACK_REGISTRY_URL out"
        return Finding("registry", "warn", "STACK_REGISTRY_URL is set, but no credentials are", do)
    of = _registry_host(registry.url)
    if of != host:
        do = "set STACK_REGISTRY_URL to the registry that STACK_IMAGE names"
        return Finding("registry", "warn", f"the image is at {host}, and the credentials are for {of}", do)
    return Finding("registry", "ok", f"there are credentials for {host}")


def _image_host(image: str) -> str:
    """Return the registry of an image by Docker's rule: a first part that looks like a host, else Docker Hub."""
    first, slash, _ = image.partition("/")
    return first if slash and (set(".:") & set(first) or first == "localhost") else "docker.io"


def _registry_host(url: str) -> str:
    host = urlsplit(url if "://" in url else f"//{url}").netloc.rpartition("@")[2]
    return "docker.io" if host in {"", "index.docker.io", "registry-1.docker.io"} else host


async def _dns(settings: Settings, resolve: Resolve) -> Finding:
    """Look up a name that nobody has: only a wildcard record leads it anywhere."""
    wildcard = f"*.{settings.stack_domain_suffix}"
    if settings.stack_probe_address:
        return Finding("dns", "skip", f"not looked up: STACK_PROBE_ADDRESS is set. Browsers still need {wildcard}")
    name = f"check-{secrets.token_hex(4)}.{settings.stack_domain_suffix}"
    try:
        addresses = await asyncio.wait_for(asyncio.to_thread(resolve, name), _LOOK_UP_SECONDS)
    except (OSError, UnicodeError):  # TimeoutError is one
        addresses = []
    if not addresses:
        do = f"make a wildcard record for {wildcard} that leads to Dokploy's proxy"
        return Finding("dns", "fail", f"{name} has no address", do)
    return Finding("dns", "ok", f"{wildcard} leads to {', '.join(addresses[:4])}")


def _addresses(name: str) -> list[str]:
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


def _line(finding: Finding) -> str:
    result = "FAIL" if finding.result == "fail" else finding.result
    do = f"; {finding.do}" if finding.do else ""
    return f"{result:<4}  {finding.item:<8}  {finding.detail}{do}"


def _in_one_line(words: str, settings: Settings) -> str:
    """Return the first line of a driver's or server's message, without control characters and secrets."""
    password = urlsplit(settings.database_url).password or ""
    for secret in filter(None, {password, unquote(password)}):
        words = words.replace(secret, "[masked]")
    return "".join(letter if letter.isprintable() else " " for letter in words.strip().partition("\n")[0])[:300]
