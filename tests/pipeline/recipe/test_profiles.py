"""Profiles: the release's choices by name, and what a recipe says itself comes first."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from nvg.choices import ChildOrder, ParentSplit, PhiForm
from nvg.config import ConfigError, dump
from nvg.generator.config import RELEASE as GENERATORS
from pipeline.recipe import load_recipe
from pipeline.recipe.profiles import PROFILES, RELEASE, expand, merge

HEAD = '{}[data]\nsource = "digits"\n[autoencoder.model]\n[generator]\npreset = "d16"\n'


def written(folder: Path, head: str, tail: str = "") -> Path:
    """A recipe file."""
    (folder / "recipe.toml").write_text(HEAD.format(head) + tail)
    return folder / "recipe.toml"


def flat(table: Any, prefix: str = "") -> dict[str, Any]:
    """Values of nested tables or configs by their whole key."""
    if is_dataclass(table):
        table = {field.name: getattr(table, field.name) for field in fields(table)}
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict) or is_dataclass(value):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = tuple(value) if isinstance(value, list) else value
    return found


def test_no_profile_is_the_classic_one(tmp_path: Path) -> None:
    """A recipe of before there were profiles keeps its meaning."""
    plain = load_recipe(written(tmp_path, ""))
    assert plain == load_recipe(written(tmp_path, 'profile = "classic"\n'))
    assert plain.autoencoder.model.phi is PhiForm.BLEND


def test_the_release_sets_every_value_of_its_table(tmp_path: Path) -> None:
    """Each is there in the resolved recipe, and differs from the default."""
    plain, ours = (load_recipe(written(tmp_path, head)) for head in ("", 'profile = "release"\n'))
    before, now = flat(plain), flat(ours)
    for key, value in flat(RELEASE).items():
        assert now[key] == value, key
        if not key.startswith("generator.variant."):  # which is a whole config
            assert before[key] != value, f"{key} is the default: the table need not name it"


def test_an_imported_generator_has_the_profiles_variant(tmp_path: Path) -> None:
    """One set of choices."""
    assert load_recipe(written(tmp_path, 'profile = "release"\n')).generator.variant == GENERATORS


def test_the_recipes_own_values_come_first(tmp_path: Path) -> None:
    """And the resolved recipe needs no profile."""
    tail = '[sample]\nsplit = "gumbel"\n'
    recipe = load_recipe(written(tmp_path, 'profile = "release"\n', tail))
    assert recipe.sample.split is ParentSplit.GUMBEL
    assert recipe.autoencoder.model.child_order is ChildOrder.MERGING
    dump(recipe, tmp_path / "resolved.toml")
    assert "profile" not in (tmp_path / "resolved.toml").read_text()
    assert load_recipe(tmp_path / "resolved.toml") == recipe


def test_a_preset_drops_paths_where_the_release_does(tmp_path: Path) -> None:
    """At the rate of the paper's dropout."""
    transformer = load_recipe(written(tmp_path, 'profile = "release"\n')).generator.content
    assert (transformer.dropout, transformer.drop_path) == (0.0, 0.0667)


def test_an_override_names_a_profile(tmp_path: Path) -> None:
    """`--set profile=release`."""
    recipe = load_recipe(written(tmp_path, ""), ["profile=release"])
    assert recipe == load_recipe(written(tmp_path, 'profile = "release"\n'))


def test_an_unknown_profile_is_named(tmp_path: Path) -> None:
    """With those there are."""
    with pytest.raises(ConfigError, match="profile must be one of classic, release, not 'paper'"):
        load_recipe(written(tmp_path, 'profile = "paper"\n'))
    for value in ('["release"]', "1"):
        with pytest.raises(ConfigError, match="profile must be one of"):
            load_recipe(written(tmp_path, f"profile = {value}\n"))
    assert set(PROFILES) == {"classic", "release"}


def test_tables_are_merged_key_by_key() -> None:
    """What is no table wins as it is, so a wrong section is reported where it stands."""
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert merge({"a": {"b": 1}}, {"a": 5}) == {"a": 5}
    assert expand({"x": 1}) == {"x": 1}
