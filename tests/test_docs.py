"""The documents are true: links lead somewhere, commands, keys and names exist, Python imports."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.app import app
from pipeline.recipe import Recipe
from tests.doc_rules import (
    blocks,
    broken_links,
    commands,
    has_key,
    missing_names,
    recipe_keys,
    resolves,
    unknown_words,
)

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("datasets/*.md")])
RECIPES = sorted(ROOT.glob("datasets/*.toml"))
VERBS = typer.main.get_command(app)
PROGRAMS = ("nvgctl", "-m cli.app")
PRESET = "generator.preset"  # is expanded before the recipe is built

every_document = pytest.mark.parametrize(
    "file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT))
)


@every_document
def test_links_lead_somewhere(file: Path) -> None:
    """Every relative link points to a file or heading that exists."""
    assert list(broken_links(file)) == []


@every_document
def test_commands_have_their_verbs_and_flags(file: Path) -> None:
    """Every `nvgctl` line can be typed: its verb and its flags exist."""
    text = file.read_text(encoding="utf-8")
    lines = [words for program in PROGRAMS for words in commands(text, program)]
    assert [fault for words in lines for fault in unknown_words(VERBS, words)] == []


@every_document
def test_recipe_keys_exist(file: Path) -> None:
    """A key after --set, or in a table of its section, is a field of a recipe."""
    keys = [key for key in recipe_keys(file.read_text(encoding="utf-8")) if key != "section.key"]
    assert [key for key in keys if key != PRESET and not has_key(Recipe, key)] == []


@every_document
def test_toml_blocks_name_fields_of_a_recipe(file: Path) -> None:
    """Every table of a TOML block is TOML, and its sections are a recipe's."""

    def leaves(table: dict[str, object], prefix: str) -> list[str]:
        found = []
        for key, value in table.items():
            inner = leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
            found += inner
        return found

    for block in blocks(file.read_text(encoding="utf-8"), "toml"):
        keys = [key for key in leaves(tomllib.loads(block), "") if "." in key]
        assert [key for key in keys if key != PRESET and not has_key(Recipe, key)] == []


@every_document
def test_python_blocks_import(file: Path) -> None:
    """Every Python block compiles, and what it imports of this project is there."""
    for block in blocks(file.read_text(encoding="utf-8"), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
                assert [name for name in wanted if not resolves(name)] == []


def test_the_lines_of_the_readme_run() -> None:
    """On a kept run instead of the demo's: free, tokenized, decoded, steered."""
    (block,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "python")
    kept = ROOT / "tests/golden/v0.1"
    for name in ("autoencoder", "generator"):
        block = block.replace(f"runs/demo/{name}", f"{kept}/{name}")
    block = block.replace("[3, 5]", "[2, 1]")
    names: dict[str, Any] = {}
    exec(block.replace("runs/demo/digits.vgs", f"{kept}/tokens.vgs"), names)
    for shown in ("pictures", "coarse", "steered"):
        assert [picture.size for picture in names[shown]] == [(8, 8)] * 2
    assert names["sequences"].content.shape == (2, 31)
    assert names["steered"] != names["pictures"]


@every_document
def test_names_of_code_exist(file: Path) -> None:
    """`file.py`, `file.py:name` and `nvg.module.name` are in the code."""
    assert list(missing_names(ROOT, file.read_text(encoding="utf-8"))) == []


@every_document
def test_recipes_of_justw_exist(file: Path) -> None:
    """`./justw NAME` names a recipe of the justfile, `./justw bench NAME` a benchmark."""
    known = set(re.findall(r"^([a-z]+)(?: [^:=]*)?:", (ROOT / "justfile").read_text(), re.M))
    lines = list(commands(file.read_text(encoding="utf-8"), "./justw"))
    assert [words[0] for words in lines if words and words[0] not in known | {"..."}] == []
    benches = [words[1] for words in lines if words[:1] == ["bench"] and words[1:]]
    assert [
        b for b in benches if b != "NAME" and not (ROOT / f"tests/bench/{b}.py").is_file()
    ] == []


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_commands_in_the_head_of_a_recipe_can_be_typed(file: Path) -> None:
    """Verbs, flags and keys of the comments above a recipe exist."""
    head = "\n".join(re.findall(r"^# *(.*)", file.read_text(encoding="utf-8"), re.M))
    text = f"```bash\n{head}\n```\n"
    lines = [words for program in PROGRAMS for words in commands(text, program)]
    assert lines or "./justw demo" in head
    assert [fault for words in lines for fault in unknown_words(VERBS, words)] == []
    keys = [key for key in (*recipe_keys(text), *recipe_keys(head)) if key != PRESET]
    assert [key for key in keys if not has_key(Recipe, key)] == []


def test_every_verb_is_in_the_table_of_commands() -> None:
    """docs/COMMANDS.md lists all verbs."""
    listed = {" ".join(w) for w in commands((ROOT / "docs/COMMANDS.md").read_text(), "nvgctl")}
    for name, command in getattr(VERBS, "commands").items():  # noqa: B009
        inner = [f"{name} {each}" for each in getattr(command, "commands", {})] or [name]
        assert set(inner) <= listed


def test_the_glossary_has_25_terms_with_names_of_code() -> None:
    """A line each, of four columns; that the names exist is tested with those of all documents."""
    text = (ROOT / "docs/GLOSSARY.md").read_text(encoding="utf-8")
    _, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 25
    assert [
        row for row in rows if not re.fullmatch(r"(\| [^|]*){3}\| `[\w/]+\.py:[\w.]+` \|", row)
    ] == []


def test_every_choice_of_the_release_names_its_tests() -> None:
    """The last column of the profile's table; that the tests exist is tested with all names."""
    text = (ROOT / "docs/RELEASE.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| \| key \| .*\| test \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M)
    rows = [row.split("|")[1:-1] for row in table.splitlines()]
    assert len(rows) > 30
    test = r"`tests/[\w/]+/test_\w+\.py:test_\w+`"
    assert [row[0] for row in rows if not re.fullmatch(rf"{test}(, {test})*", row[4].strip())] == []


def test_every_fault_of_a_gpu_names_what_shows_it_gone() -> None:
    """Ten groups, each with tests."""
    text = (ROOT / "docs/PERFORMANCE.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| Group \| .*\|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.M)
    rows = [row.split("|")[1:-1] for row in table.splitlines()]
    numbers = [int(n) for row in rows for n in re.findall(r"^ (\d+)\.", row[0])]
    assert numbers == list(range(1, 11))
    assert [row[0] for row in rows if "/test_" not in row[1]] == []


def test_documents_of_code_exist() -> None:
    """A `docs/...md` that source, tests, recipes or tools name is there."""
    files = [
        f for d in ("nvg", "pipeline", "cli", "tests", "datasets") for f in (ROOT / d).rglob("*")
    ]
    named = {
        name
        for file in [*files, ROOT / "justfile", *DOCUMENTS]
        if (file.suffix in (".py", ".toml", ".md") or file.name == "justfile") and file.is_file()
        for name in re.findall(r"docs/[\w/-]+\.(?:md|png)", file.read_text(encoding="utf-8"))
    }
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_faults_are_found(tmp_path: Path) -> None:
    """A planted dead link, unknown flag, unknown key and unknown name are each told."""
    planted = tmp_path / "planted.md"
    planted.write_text("# Planted\n[a](nowhere.md) [b](#planted) [c](#other)\n")
    assert list(broken_links(planted)) == [
        "planted.md: no file nowhere.md",
        "planted.md: no heading #other",
    ]
    text = "`nvgctl inspect a.vgs --pgn b` and `nvgctl bake x --set sample.topp=1`\n"
    lines = list(commands(text, "nvgctl"))
    faults = [fault for words in lines for fault in unknown_words(VERBS, words)]
    assert faults == ["inspect has no --pgn", "no verb bake"]
    assert "sample.topp" in set(recipe_keys(text))
    assert not has_key(Recipe, "sample.topp")
    assert has_key(Recipe, "tokenize.features.dims")
    text = "`nvg/geometry.py:labels`, `nvg/geometry.py:label`, `nvg.geometry.label`\n"
    assert list(missing_names(ROOT, text)) == [
        "no label in nvg/geometry.py",
        "no nvg.geometry.label",
    ]
