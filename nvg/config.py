"""Strict TOML <-> frozen dataclasses, with `--set section.key=value` overrides."""

import dataclasses
import enum
import logging
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from nvg.errors import InputError

Config = TypeVar("Config")

FORMER_NAME = "was"  # key of a field's metadata

log = logging.getLogger("nvg")


class ConfigError(InputError):
    """A recipe that cannot be used; the message names the key and what it must be."""


def load(kind: type[Config], path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read TOML at `path` into dataclass `kind`, after applying `key.sub=value` overrides.

    ConfigError on an unreadable file, an unknown or missing key, or a value of the wrong type.
    """
    return build(kind, read_table(path, overrides))


def read_table(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """TOML at `path` as nested tables with the overrides applied; ConfigError if unreadable."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read recipe {path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {path} is not valid TOML: {error}") from error
    for override in overrides:
        _apply(table, override)
    return table


def build(kind: type[Config], table: Mapping[str, Any]) -> Config:
    """A dataclass `kind` from nested tables, as strict as `load`.

    Former names of keys (see `renamed`) are read, with one warning for all of them.
    """
    former: list[str] = []
    config = typing.cast(Config, _dataclass(kind, table, "", former))
    if former:
        log.warning(
            "the recipe uses old names, which the next version will not read: %s", ", ".join(former)
        )
    return config


def renamed(default: Any, was: str) -> Any:
    """A dataclass field with a default, whose former name `was` is still read."""
    return dataclasses.field(default=default, metadata={FORMER_NAME: was})


def as_table(config: Any) -> dict[str, Any]:
    """A config as plain nested tables, without fields that are None: TOML has no null."""
    return dataclasses.asdict(config, dict_factory=_plain_items)


def dump(config: Any, path: str | Path) -> None:
    """Write the resolved config as TOML."""
    Path(path).write_text(tomli_w.dumps(as_table(config)), encoding="utf-8")


def require_positive(config: Any, *names: str) -> None:
    """ValueError unless each named field is at least 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(config, name)}")


def require_fraction(config: Any, *names: str) -> None:
    """ValueError unless each named field is in 0..1."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be between 0 and 1, not {getattr(config, name)}")


def _plain_items(items: list[tuple[str, Any]]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return value.value
        return list(value) if isinstance(value, tuple) else value

    return {key: plain(value) for key, value in items if value is not None}


def _apply(table: dict[str, Any], override: str) -> None:
    """Set one `a.b=value` in place; the value is TOML, else a bare string."""
    name, separator, text = override.partition("=")
    keys = name.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {override!r} is not of the form section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for key in keys[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override!r}: {key} is not a section")
        table = inner
    table[keys[-1]] = value


def _dataclass(kind: Any, value: Any, where: str, former: list[str]) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where or 'recipe'} must be a section, not {value!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    value = _with_new_names(fields, value, prefix, former)
    for key in value:
        if key not in fields:
            raise ConfigError(f"unknown key {prefix}{key}; known there: {', '.join(fields)}")
    built = {}
    for name, field in fields.items():
        if name in value:
            built[name] = _convert(hints[name], value[name], prefix + name, former)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"missing key {prefix}{name}")
    try:
        return kind(**built)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where or 'recipe'}: {error}") from error


def _with_new_names(
    fields: dict[str, Any], value: Mapping[str, Any], prefix: str, former: list[str]
) -> dict[str, Any]:
    """The section with the current names of its keys; those renamed are appended to `former`."""
    table = dict(value)
    for name, field in fields.items():
        old = field.metadata.get(FORMER_NAME)
        if old in table:
            if name in table:
                raise ConfigError(f"{prefix}{old} is the old name of {prefix}{name}: give one")
            table[name] = table.pop(old)
            former.append(f"{prefix}{old} (now {name})")
    return table


def _convert(hint: Any, value: Any, where: str, former: list[str]) -> Any:
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where, former)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return _convert(inner, value, where, former)
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{where}[{n}]", former) for n, item in enumerate(value))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        choices = [member.value for member in hint]
        if value in choices:
            return hint(value)
        raise ConfigError(f"{where} must be one of {', '.join(choices)}, not {value!r}")
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not (origin or hint):
        wanted = "list" if origin is tuple else (origin or hint).__name__
        raise ConfigError(f"{where} must be of type {wanted}, not {value!r}")
    return value
