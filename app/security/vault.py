"""The vault: encrypts secrets in the store, signs those in browsers, and fingerprints those only to be recognized."""

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from itsdangerous import BadSignature, URLSafeSerializer

from app.config.settings import Settings
from app.errors import SettingsError

# Shown with a manage key, so that a scanner of repositories can tell what it found.
_MANAGE_KEY_PREFIX: Final = "asd_"


class Vault:
    """Encrypts and signs with the newest of a list of keys, and reads what any of them wrote."""

    def __init__(self, keys: Sequence[str], *, clock: Callable[[], float] = time.time) -> None:
        """`keys`: SECRET_KEY, newest first; `clock`: seconds since 1970, for what counts for a while only."""
        fernets = [Fernet(_derive(key, "encrypt")) for key in keys]
        self._newest = fernets[0]
        self._fernet = MultiFernet(fernets)
        self._given = tuple(keys)
        self._clock = clock

    def encrypt(self, text: str) -> bytes:
        """Encrypt a text for the store."""
        return self._fernet.encrypt(text.encode())

    def decrypt(self, token: bytes) -> str:
        """Decrypt what `encrypt` made. Raises SettingsError where SECRET_KEY lacks the key that it was made with."""
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise SettingsError(
                "SECRET_KEY lacks the key that the store's secrets were encrypted with; "
                "put it back behind the new one, as in SECRET_KEY=new,old"
            ) from None

    def renew(self, token: bytes) -> bytes | None:
        """Encrypt anew what an older key has encrypted; None where it was the newest. Raises as `decrypt` does."""
        try:
            self._newest.decrypt(token)
        except InvalidToken:
            return self.encrypt(self.decrypt(token))
        return None

    def _signer(self, cookie: str) -> URLSafeSerializer:
        # The library wants them oldest first. Browsers have had theirs since before cookies had salts of their own.
        salt = "cookie" if cookie == "asd_browser" else cookie
        return URLSafeSerializer([_derive(key, "sign") for key in reversed(self._given)], salt=salt)

    def seal(self, text: str, purpose: str) -> str:
        """Encrypt a text that a browser holds for a while and must not read."""
        return self._sealer(purpose).encrypt_at_time(text.encode(), int(self._clock())).decode()

    def unseal(self, sealed: str, purpose: str, *, seconds: int) -> str | None:
        """Return such a text, or None where it is older than `seconds`, for another purpose, or not ours."""
        try:
            return self._sealer(purpose).decrypt_at_time(sealed.encode(), seconds, int(self._clock())).decode()
        except InvalidToken:
            return None

    def _sealer(self, purpose: str) -> MultiFernet:
        return MultiFernet([Fernet(_derive(key, f"seal.{purpose}")) for key in self._given])

    def sign(self, text: str, cookie: str) -> str:
        """Sign a text for a cookie; what one of them holds is good for nothing in another."""
        return str(self._signer(cookie).dumps(text))

    def unsign(self, signed: str, cookie: str) -> str | None:
        """Return the text of a signed cookie, or None where the signature is not ours, or another cookie's."""
        try:
            text = self._signer(cookie).loads(signed)
        except BadSignature:
            return None
        return text if isinstance(text, str) else None


def new_manage_key() -> str:
    """Make the key that manages one stack: 32 characters nobody can guess, and a prefix."""
    return _MANAGE_KEY_PREFIX + secrets.token_urlsafe(24)


def new_password() -> str:
    """Make a stack's password: letters, digits, hyphens and underscores, which any shell and file can hold."""
    return secrets.token_urlsafe(18)


def fingerprint(secret: str) -> str:
    """Hash a long random secret for storing; nothing slower is needed, as it cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def load_keys(settings: Settings) -> tuple[str, ...]:
    """Return SECRET_KEY, or the key that is made once beside the database, readable by the portal only."""
    if settings.secret_key:
        return settings.secret_key
    database = settings.sqlite_path or Path("data/portal.db")
    path = database.with_name("secret.key")
    try:
        return (_read_or_make(path),)
    except OSError as error:
        raise SettingsError(f"SECRET_KEY is not set, and {path} cannot be made: {error.strerror}") from None


def _read_or_make(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written whole or not at all: another process may start at the same moment.
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text().strip()


def _derive(key: str, purpose: str) -> bytes:
    """One key for each purpose, in the form that Fernet wants."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{purpose}:{key}".encode()).digest())
