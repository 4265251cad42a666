"""docs/RECIPE.md: every key of a recipe, from the dataclasses and the lines below their fields.

A line below a field is its meaning, with the source of the default in brackets at its end, `[A.5]`;
one that has the brackets only keeps the meaning that the class above gives. `./justw reference`
writes the page.
"""

import ast
import dataclasses
import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.recipe.presets import PRESETS
from pipeline.recipe.profiles import RELEASE
from pipeline.recipe.schema import Recipe

PAGE = Path("docs/RECIPE.md")
OURS = "ours"
NAMES = ", ".join(f'`"{name}"`' for name in PRESETS)
HEAD = f"""# Keys of a recipe

Written by `./justw reference` from the code: change a docstring there, not this page.
[Recipes](../datasets/README.md) explains sections and sources; `nvgctl recipe my.toml` prints a
recipe with every key that it leaves out.

*Default*: "required" has none; "none" is no value, which TOML cannot write: leave the key out.
Below it the value that `profile = "release"` takes, where it is another. *Source* of the default:
a place in the [paper](https://arxiv.org/abs/2508.12811), another project, or {OURS}.

Above all sections, `profile = "classic"` or `"release"` fills in choices that the recipe leaves out
([RELEASE](RELEASE.md#the-profile)). In `[generator]`, `preset` fills in sizes and lengths: one of
{NAMES} ([guide](guides/train-generators.md)).
"""


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a section, as the page shows it."""

    name: str
    kind: str
    default: str
    source: str
    meaning: str


def reference() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for section, kind, release in sections(Recipe, "", RELEASE):
        rows = [
            f"| `{key.name}` | {key.kind} | {key.default} | {key.source} | {key.meaning} |"
            for key in keys_of(kind, release)
        ]
        if rows:
            about = _one_line(inspect.getdoc(kind) or "")
            table = [
                f"| `[{section}]` | Type | Default | Source | Meaning |",
                "|---|---|---|---|---|",
            ]
            parts.append("\n".join([f"## {section}", "", about, "", *table, *rows]) + "\n")
    return "\n".join(parts)


def sections(
    kind: Any, name: str, release: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Name, dataclass and the release's values of a section and those in it, outer ones first."""
    if name:
        yield name, kind, release
    for field, hint in _fields(kind):
        inner = next(filter(dataclasses.is_dataclass, (hint, *typing.get_args(hint))), None)
        if inner is not None:
            yield from sections(
                inner, f"{name}.{field.name}".strip("."), release.get(field.name, {})
            )


def keys_of(kind: Any, release: Mapping[str, Any] | None = None) -> list[Key]:
    """The keys of a section, without the sections in it. ValueError for one without a meaning."""
    found = []
    for field, hint in _fields(kind):
        parts = [part for part in typing.get_args(hint) or (hint,) if part is not types.NoneType]
        if any(map(dataclasses.is_dataclass, parts)):
            continue
        meaning, source = _said(kind, field.name)
        member = next((part for part in parts if isinstance(part, enum.EnumType)), None)
        if member is not None:
            meaning = " ".join(
                [meaning or _one_line(inspect.getdoc(member) or ""), *_members(member)]
            )
        if not meaning:
            raise ValueError(f"{kind.__name__}.{field.name} has no docstring: write one below it")
        default = _default(field)
        theirs = _shown((release or {}).get(field.name))
        if theirs not in ("none", default):
            default += f"<br>release: {theirs}"
        is_required = default.startswith("required")
        source = "" if is_required else source or OURS
        found.append(Key(field.name, _kind(hint), default, source, meaning.replace("|", "\\|")))
    return found


def docstrings(kind: Any) -> dict[str, str]:
    """The line below each member or field of a class, as far as there is one."""
    (node,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    found, name = {}, ""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            name = each.target.id
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            name = each.targets[0].id
        elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and name:
            found[name] = _one_line(str(each.value.value))
            name = ""
    return found


def _said(kind: Any, name: str) -> tuple[str, str]:
    """Meaning and source of a field, each by the nearest class that states it."""
    meaning = source = ""
    for each in kind.__mro__[:-1]:
        parts = re.fullmatch(r"(.*?)\s*(?:\[([^\]]+)\])?", docstrings(each).get(name, ""))
        assert parts
        meaning, source = meaning or parts[1], source or parts[2] or ""
    return meaning, source


def _members(kind: enum.EnumType) -> list[str]:
    """Of an enum: each value with what it means, where that is said."""
    said = docstrings(kind)
    return [
        f'<br>`"{member.value}"`: {said[member.name]}'
        for member in _values(kind)
        if member.name in said
    ]


def _values(kind: enum.EnumType) -> list[enum.Enum]:
    return list(kind.__members__.values())


def _fields(kind: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _kind(hint: Any) -> str:
    """A type in TOML's words; of an enum the values."""
    if isinstance(hint, enum.EnumType):
        return ", ".join(f'`"{member.value}"`' for member in _values(hint))
    if typing.get_origin(hint) is tuple:
        return f"list of {_kind(typing.get_args(hint)[0])}"
    if parts := [part for part in typing.get_args(hint) if part is not types.NoneType]:
        return _kind(parts[0])
    return {"int": "integer", "str": "string", "bool": "boolean"}.get(hint.__name__, hint.__name__)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return _shown(field.default_factory())
    return "required"


def _shown(value: Any) -> str:
    """A value as TOML writes it."""
    if value is None:
        return "none"
    return f"`{json.dumps(value, default=lambda each: each.value)}`"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
