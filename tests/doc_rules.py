"""What a document may say, as functions of its text: links, commands, recipe keys, code names."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
import types
import typing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
CODE_NAME = re.compile(r"((?:nvg|pipeline|cli|tests)/[\w/]+\.py)(?::([A-Za-z_][\w.]*))?")
DOTTED_NAME = re.compile(r"(?:nvg|pipeline)(?:\.[A-Za-z_]\w*)+")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return [body for kind, body in FENCE.findall(text) if kind == language]


def prose(text: str) -> str:
    """The document without its code blocks."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken_links(file: Path) -> Iterator[str]:
    """Relative links of a document to files or headings that do not exist."""
    for target in LINK.findall(prose(file.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        if not there.exists():
            yield f"{file.name}: no file {target}"
        elif anchor and anchor not in anchors(there.read_text(encoding="utf-8")):
            yield f"{file.name}: no heading {target}"


def commands(text: str, program: str) -> Iterator[list[str]]:
    """The words after `program` of every command in code blocks and inline code."""
    indented = re.findall(r"^    (?!-)(.+)$", prose(text), re.M)
    lines = "\n".join([*blocks(text, "bash"), *indented]).replace("\\\n", " ").splitlines()
    for line in [*lines, *CODE.findall(prose(text))]:
        start = re.search(rf"(?:^|\s){re.escape(program)}(?=\s|$)", line)
        if start:
            yield shlex.split(line[start.end() :], comments=True)


def unknown_words(command: Any, words: list[str]) -> Iterator[str]:
    """Verbs and flags of a command line that `command` does not have."""
    name = ""
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name, words = words[0], words[1:]
        if name not in command.commands:
            if name.islower():  # VERB, ... stand for any
                yield f"no verb {name}"
            return
        command = command.commands[name]
    flags = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag not in flags | {"--help"}:
            yield f"{name} has no {flag}"


def recipe_keys(text: str) -> Iterator[str]:
    """Keys that a document names: after --set, and in tables of a section."""
    for words in (*commands(text, "nvgctl"), *commands(text, "-m cli.app")):
        yield from (b.partition("=")[0] for a, b in pairwise(words) if a == "--set")
    yield from (found.partition("=")[0] for found in re.findall(r"--set ([a-z_.]+=)", prose(text)))
    for table in re.findall(r"(?:^\|.*\n)+", prose(text), re.M):
        header, _, *rows = table.splitlines()
        section = re.search(r"`\[([\w.]+)\]`", header)
        if section:
            for row in rows:
                first = row.split("|")[1]
                yield from (f"{section[1]}.{key}" for key in CODE.findall(first))


def has_key(config: Any, key: str) -> bool:
    """Whether a dotted key names a field of a config class, nested ones and options included."""
    for part in key.split("."):
        kinds = typing.get_args(config) if isinstance(config, types.UnionType) else [config]
        config = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
        if config is None or part not in {field.name for field in dataclasses.fields(config)}:
            return False
        config = typing.get_type_hints(config)[part]
    return True


def names_of(file: Path) -> set[str]:
    """Functions, classes, their methods and fields, and constants of a source file."""
    found = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            elif isinstance(node, ast.Assign):
                found.update(
                    prefix + each.id for each in node.targets if isinstance(each, ast.Name)
                )
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(prefix + node.target.id)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(file.read_text(encoding="utf-8")).body, "")
    return found


def identifiers(file: Path) -> set[str]:
    """Every name, attribute and imported name that a source file uses."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
    return found


def missing_names(root: Path, text: str) -> Iterator[str]:
    """`file.py`, `file.py:name` and `nvg.module.name` of a document that the code does not have."""
    for code in CODE.findall(prose(text)):
        for file, name in CODE_NAME.findall(code):
            if not (root / file).is_file():
                yield f"no file {file}"
            elif name and name not in names_of(root / file):
                yield f"no {name} in {file}"
        if DOTTED_NAME.fullmatch(code) and not resolves(code):
            yield f"no {code}"


def resolves(dotted: str) -> bool:
    """Whether `package.module.name` can be imported."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def package_table(text: str) -> dict[str, set[str]]:
    """Package -> the packages it may import, from a table of package, purpose, imports.

    `nvg` in the last column stands for all of nvg; "all above but" for the rows above.
    """
    found: dict[str, set[str]] = {}
    for package, said in re.findall(r"^\| `([\w.]+)` \| [^|]+ \|([^|]*)\|$", text, re.M):
        short = {re.sub(r"^(nvg|pipeline)\.", "", name): name for name in found}
        rule, _, excluded = said.strip().partition(" but ")
        named = {short[name] for name in CODE.findall(rule)}
        allowed = set(found) if rule.startswith("all above") else named
        if "nvg" in named:
            allowed |= {name for name in found if name.startswith("nvg.")}
        found[package] = (allowed | {"nvg"}) - {short[name] for name in CODE.findall(excluded)}
    return {package: names - {package} for package, names in found.items()}
