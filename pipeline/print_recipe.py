"""The recipe that a file, a run, a store or images stand for, with every key, as TOML to use."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from nvg.config import ConfigError, as_table, overridden
from nvg.errors import InputError
from pipeline.recipe import Recipe, load_recipe, resolved
from pipeline.recipe.written import commented

CONFIG = "config.toml"  # of a run
DEFAULTS: dict[str, Any] = {"autoencoder": {"model": {}}, "generator": {"preset": "d16"}}
"""The paper's, which is what a recipe without a key takes."""


def recipe_text(path: str | None, settings: Iterable[str] = ()) -> str:
    """TOML of the recipe at `path` after `settings`, preset and profile; the defaults without one.

    A run has the recipe it was trained by; a store that of its images and its tokenizer; images
    without a recipe the one that they stand for. InputError for what is none of these.
    """
    said, notes, recipe = _found(path, list(settings))
    table = as_table(recipe)
    return commented([f"{said}. Every key: docs/RECIPE.md", *notes], table, {}, about={})


def _found(path: str | None, settings: list[str]) -> tuple[str, list[str], Recipe]:
    """What the path is, what a reader must know of its recipe, and that."""
    if path is None:
        return "The defaults", [], _of_table("--set", DEFAULTS, settings)
    if path.endswith(".toml"):
        return path, [], load_recipe(path, settings)
    place = Path(path)
    if (place / CONFIG).is_file():
        return f"The run {path}", [], load_recipe(place / CONFIG, settings, warn=False)
    # An imported run has no recipe either.
    if place.suffix == ".safetensors" or (place / "autoencoder.safetensors").is_file():
        from nvg.tokenizer.autoencoder import autoencoder_config

        table = {"autoencoder": {"model": as_table(autoencoder_config(place))}}
        return f"The tokenizer {path}", [], _of_table(path, table, settings)
    from nvg.store import open_store, store_exists

    if path.rstrip("/").endswith(".vgs") or ("://" not in path and store_exists(path)):
        table, notes = _table_of_store(open_store(path))
        return f"The store {path}", notes, _of_table(path, table, settings)
    from pipeline.data_recipe import read_data

    return f"The images {path}", [], read_data(path, settings)


def _of_table(path: str, table: dict[str, Any], settings: list[str]) -> Recipe:
    try:  # a copy, since overrides change the tables
        return resolved(overridden(Recipe, deepcopy(table), settings))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _table_of_store(store: Any) -> tuple[dict[str, Any], list[str]]:
    """The recipe's sections that a store knows, and what it does not know of them."""
    from nvg.format.base import TOKENIZER_FILE
    from nvg.weights import read_header

    data = dict(store.manifest.recipe.get("data", {}))
    tokenize = dict(store.manifest.recipe.get("tokenize", {}))
    notes = []
    if "exif" not in data:  # before there was a choice, pictures were read as they are stored
        data |= {"exif": "ignore", "icc": "ignore"}
        notes.append("Colours under transparent pixels were kept, which no data.background says.")
    if "features" in tokenize:
        tokenize["features"] = {"weights": "", **tokenize["features"]}
        notes.append("Name the file of the features' weights in tokenize.features.weights.")
    try:
        model = read_header(store.read(TOKENIZER_FILE))["config"]
    except KeyError:
        raise InputError(f"{store.path} does not tell the shape of its tokenizer") from None
    return {"data": data, "autoencoder": {"model": model}, "tokenize": tokenize}, notes
