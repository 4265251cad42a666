"""Strict TOML <-> frozen dataclasses, with `--set section.key=value` overrides."""

import dataclasses
import enum
import functools
import logging
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from nvg.errors import MOST_SHOWN, InputError, printable, shown
from nvg.files import write_atomic

Config = TypeVar("Config")

MOST_CHANNELS = 1 << 16
MOST_BLOCKS = 1 << 10
MOST_TEXT, MOST_PARTS = 1 << 20, 100  # of TOML: characters, and parts of a dotted key
MOST_INTEGER = 1 << 63
FORMER_NAME = "was"  # key of a field's metadata

log = logging.getLogger("nvg")


class ConfigError(InputError):
    """A recipe that cannot be used; the message names the key and what it must be."""


def load(
    kind: type[Config], path: str | Path, overrides: Iterable[str] = (), warn: bool = True
) -> Config:
    """Read TOML at `path` into dataclass `kind`, after applying `key.sub=value` overrides.

    ConfigError on an unreadable file, an unknown or missing key, a value of the wrong type, or a
    number that is not finite.
    """
    return build(kind, read_table(kind, path, overrides, warn))


def read_table(
    kind: type, path: str | Path, overrides: Iterable[str] = (), warn: bool = True
) -> dict[str, Any]:
    """TOML at `path` as nested tables of `kind`, with the overrides applied; ConfigError.

    Former names of keys (see `renamed`) are read, with one warning for all of the file; an
    override wins over the file whichever name each uses.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            table = parse_toml(file.read(MOST_TEXT + 1))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"cannot read recipe {path}: {reason}") from error
    except ValueError as error:
        raise ConfigError(f"recipe {path} is not valid TOML: {error}") from error
    former: list[str] = []
    table = current_names(kind, table, former)
    if former and warn:
        log.warning(
            "%s uses old names, which the next version will not read: %s", path, ", ".join(former)
        )
    return overridden(kind, table, overrides)


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML document; ValueError, in words for people, for another.

    Also for what takes a reader minutes or all of its stack, as a run from elsewhere could have it.
    """
    if len(text) > MOST_TEXT:
        raise ValueError(f"it is over {MOST_TEXT:,} characters")
    if any(line.partition("=")[0].count(".") > MOST_PARTS for line in text.splitlines()):
        raise ValueError(f"a key has over {MOST_PARTS} parts")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(printable(str(error))) from None
    except (ValueError, RecursionError):  # of int(), and of lists in lists
        raise ValueError("a number is too long, or lists lie too deep in one another") from None


def overridden(kind: type, table: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Nested tables of `kind` after `key.sub=value` overrides, which change them; ConfigError."""
    for override in overrides:
        _apply(table, override, kind)
    return table


def build(kind: type[Config], table: Mapping[str, Any]) -> Config:
    """A dataclass `kind` from nested tables, as strict as `load`; former names are read."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"recipe must be a section, not {shown(table)}")
    return typing.cast(Config, _dataclass(kind, current_names(kind, table, []), ""))


def renamed(default: Any, was: str) -> Any:
    """A dataclass field with a default, whose former name `was` is still read."""
    return dataclasses.field(default=default, metadata={FORMER_NAME: was})


def as_table(config: Any) -> dict[str, Any]:
    """A config as plain nested tables, without fields that are None: TOML has no null."""
    return dataclasses.asdict(config, dict_factory=_plain_items)


def dump(config: Any, path: str | Path) -> None:
    """Write the resolved config as TOML, atomically."""
    write_atomic(Path(path), tomli_w.dumps(as_table(config)).encode())


def require_positive(config: Any, *names: str) -> None:
    """ValueError unless each named field is at least 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(config, name)}")


def require_size(config: Any, most: int, *names: str) -> None:
    """ValueError unless each named field is 1..most: no machine has more, and no tensor could."""
    require_positive(config, *names)
    for name in names:
        if getattr(config, name) > most:
            raise ValueError(f"{name} must be at most {most}, not {getattr(config, name)}")


def require_fraction(config: Any, *names: str) -> None:
    """ValueError unless each named field is in 0..1."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be between 0 and 1, not {getattr(config, name)}")


def require_not_negative(config: Any, *names: str) -> None:
    """ValueError unless each named field is a finite number from 0 on, or None."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 <= value < math.inf:
            wanted = "not be negative" if value < 0 else "be a finite number"
            raise ValueError(f"{name} must {wanted}, not {value}")


def require_betas(betas: tuple[float, ...]) -> None:
    """ValueError unless they are those of Adam's two moments, from 0 to less than 1."""
    if len(betas) != 2:
        raise ValueError(f"betas must be two numbers, not {list(betas)}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be at least 0 and less than 1, not {list(betas)}")


def _plain_items(items: list[tuple[str, Any]]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return value.value
        return list(value) if isinstance(value, tuple) else value

    return {key: plain(value) for key, value in items if value is not None}


def _apply(table: dict[str, Any], override: str, kind: Any) -> None:
    """Set one `a.b=value` in place; the value is TOML, else a bare string. Old names are read."""
    name, separator, text = override.partition("=")
    keys = name.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"--set {override!r} is not of the form section.key=value")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    for key in keys[:-1]:
        name, kind = _field(kind, key)
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override!r}: {key} is not a section")
        table = inner
    table[_field(kind, keys[-1])[0]] = value


def current_names(
    kind: Any, table: Mapping[str, Any], former: list[str], where: str = ""
) -> dict[str, Any]:
    """The table with today's names of its keys at every level; those renamed go to `former`."""
    named: dict[str, Any] = {}
    for key, value in table.items():
        name, inner = _field(kind, key)
        if name in named or (name != key and name in table):
            raise ConfigError(f"{where}{key} is the old name of {where}{name}: give one")
        if name != key:
            former.append(f"{where}{key} (now {name})")
        is_section = inner is not None and isinstance(value, Mapping)
        if is_section:
            value = current_names(inner, value, former, f"{where}{name}.")
        named[name] = value
    return named


def _field(kind: Any, key: str) -> tuple[str, Any]:
    """Today's name of a key of dataclass `kind`, and the dataclass of its section, if it is one."""
    if kind is None:
        return key, None
    for field in dataclasses.fields(kind):
        if key in (field.name, field.metadata.get(FORMER_NAME)):
            hint = _hints(kind)[field.name]
            parts = (hint, *typing.get_args(hint))  # X, or X | None
            return field.name, next(filter(dataclasses.is_dataclass, parts), None)
    return key, None


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Types of the fields of a dataclass. To find them takes most of the time to open a store."""
    return typing.get_type_hints(kind)


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where or 'recipe'} must be a section, not {shown(value)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = _hints(kind)
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in fields:
            named = f"{prefix}{printable(key[:MOST_SHOWN])}"
            raise ConfigError(f"unknown key {named}; known there: {', '.join(fields)}")
    built = {}
    for name, field in fields.items():
        if name in value:
            built[name] = _convert(hints[name], value[name], prefix + name)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"missing key {prefix}{name}")
    try:
        return kind(**built)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where or 'recipe'}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return _convert(inner, value, where)
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(hint)[0]
        return tuple(_convert(inner, item, f"{where}[{n}]") for n, item in enumerate(value))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        choices = [member.value for member in hint]
        if value in choices:
            return hint(value)
        raise ConfigError(f"{where} must be one of {', '.join(choices)}, not {shown(value)}")
    if type(value) is int and hint in (int, float) and abs(value) >= MOST_INTEGER:
        raise ConfigError(f"{where} must be a number below 2^63, not {shown(value)}")
    if hint is float and type(value) is int:
        return float(value)
    if hint is float and type(value) is float and not math.isfinite(value):
        raise ConfigError(f"{where} must be a finite number, not {value}")
    if type(value) is not (origin or hint):
        wanted = "list" if origin is tuple else (origin or hint).__name__
        raise ConfigError(f"{where} must be of type {wanted}, not {shown(value)}")
    return value
