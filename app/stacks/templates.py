"""The template of a stack: the operator's description of its container, address and secrets."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Self

from app.config.settings import Settings
from app.security.vault import Vault


@dataclass(frozen=True)
class Registry:
    """Credentials for an image that is not public. `password` is a secret."""

    url: str
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Registry(url={self.url!r}, username={self.username!r}, password=[masked])"


@dataclass(frozen=True)
class Template:
    """One kind of stack.

    image: reference of the container's image; port: where it listens; memory_bytes and cpus: its limits.
    volume: pattern of the volume's name; volume_path: where it is mounted.
    address: pattern of the stack's address; certificate: where its certificate comes from, as CERTIFICATE_MODE says it.
    variables: environment of every stack of this kind; password_variable: where its generated password goes.
    probe_paths: asked when it is verified; alive: statuses by which a stranger is turned away, so that it counts as up.
    """

    name: str
    image: str
    port: int
    memory_bytes: int
    cpus: float
    volume: str
    volume_path: str
    address: str
    certificate: str
    variables: tuple[tuple[str, str], ...]
    password_variable: str
    probe_paths: tuple[str, ...]
    alive: frozenset[int] = frozenset({401})

    def volume_of(self, name: str) -> str:
        """Return the name of a stack's volume."""
        return self.volume.format(name=name)


@dataclass(frozen=True)
class StackSecrets:
    """What a stack's container is told and nobody else: its password, and the operator's variables."""

    password: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)

    def with_password(self, password: str) -> Self:
        """Return the same with another password."""
        return replace(self, password=password)

    def encrypt(self, vault: Vault) -> bytes:
        """Seal for the store."""
        return vault.encrypt(json.dumps(asdict(self)))

    @classmethod
    def decrypt(cls, sealed: bytes, vault: Vault) -> Self:
        """Open what `encrypt` sealed."""
        return cls(**json.loads(vault.decrypt(sealed)))


def built_in_template(settings: Settings) -> Template:
    """Describe the usual stack, an OpenCode server, from the plain STACK_ settings."""
    port = f":{settings.stack_public_port}" if settings.stack_public_port else ""
    return Template(
        name="opencode",
        image=settings.stack_image,
        port=settings.stack_port,
        memory_bytes=settings.memory_bytes,
        cpus=settings.stack_cpus,
        volume=settings.stack_volume,
        volume_path=settings.stack_volume_path,
        address=f"{'https' if settings.https else 'http'}://{{name}}.{settings.stack_domain_suffix}{port}",
        certificate=settings.certificate_mode,
        variables=tuple(sorted(settings.stack_variables.items())),
        password_variable=settings.stack_password_variable,
        probe_paths=settings.stack_probe_paths,
    )
