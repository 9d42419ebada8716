"""Secrets from files, as Docker and Kubernetes hand them over: a variable with `_FILE` at its end names the file."""

import os
import stat
from typing import Annotated, Any, Final, TypeVar

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from app.errors import SettingsError

T = TypeVar("T")

_SUFFIX: Final = "_FILE"
_MOST_KILOBYTES: Final = 64


class _FromFile:
    """Marks a setting that may come from a file."""


Secret = Annotated[T, _FromFile()]
"""A setting that may come from a file: `Secret[SecretStr]` in the place of `SecretStr`."""


def may_come_from_file(field: FieldInfo) -> bool:
    """Whether a setting is marked so."""
    return any(isinstance(each, _FromFile) for each in field.metadata)


class SecretFiles(PydanticBaseSettingsSource):
    """Reads what `NAME_FILE` names, wherever a variable may stand: in the environment, or in `.env`."""

    def __init__(self, settings: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        """Wrap `sources`, which read variables."""
        super().__init__(settings)
        self._variables: dict[str, str | None] = {}
        for source in sources:
            if isinstance(source, EnvSettingsSource):
                self._variables = {**source.env_vars, **self._variables}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Read one setting. Raises SettingsError in one line that repeats neither the path nor what the file holds."""
        path = self._set(field_name + _SUFFIX.lower()) if may_come_from_file(field) else None
        if path is None:
            return None, field_name, False
        name = field_name.upper()
        if self._set(field_name) is not None:
            raise SettingsError(f"{name} and {name}{_SUFFIX} are both set; leave one of them out")
        return _read(name, path), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Read every setting that a file is named for."""
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _set(self, name: str) -> str | None:
        """Return a variable's value; an empty one counts as not set."""
        return self._variables.get(name) or None


def is_given(name: str) -> bool:
    """Whether the environment gives a setting, by itself or by naming a file."""
    return bool({name.upper(), name.upper() + _SUFFIX} & os.environ.keys())


def _read(name: str, path: str) -> str:
    """Return the content of a file, without the newline at its end."""
    # The path is not repeated: whoever takes NAME_FILE for NAME has written the secret there.
    example = f"; for example {name}{_SUFFIX}=/run/secrets/{name.lower()}"
    try:
        # What waits for a writer, or never ends, is no file to read.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SettingsError(f"{name}{_SUFFIX} names a folder or a device, and no file{example}")
            content = file.read(_MOST_KILOBYTES * 1024 + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "that is no path"
        raise SettingsError(f"{name}{_SUFFIX} names a file that cannot be read: {reason}{example}") from None
    if len(content) > _MOST_KILOBYTES * 1024:
        raise SettingsError(f"{name}{_SUFFIX} names a file that is larger than {_MOST_KILOBYTES} kB{example}")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SettingsError(f"{name}{_SUFFIX} names a file that is no text{example}") from None
    if not text:
        raise SettingsError(f"{name}{_SUFFIX} names a file that is empty{example}")
    return text
