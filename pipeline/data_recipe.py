"""A recipe, or the one that images without it stand for: a folder, tables, shards, a list."""

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvg.config import ConfigError, overridden
from nvg.errors import InputError
from pipeline.recipe import DataConfig, Recipe, load_recipe, resolved
from pipeline.recipe.sizes import MULTIPLIERS, sizes_for
from pipeline.recipe.written import commented
from pipeline.sources import Source, find_data, open_source

log = logging.getLogger("nvg")

RECIPE = ".toml"
LOOKED_AT = 16  # images whose size suggests that of the model


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Options of a verb that stand for keys of the recipe."""

    heldout: str | None = None
    """A number of images, or a percentage such as 5%."""
    label_column: str | None = None
    views: str | None = None
    """Names with commas between them."""
    image_size: int | None = None
    """For the model, where there is no recipe."""

    def settings(self, data: DataConfig) -> list[str]:
        """The options as overrides of the recipe over `data`. InputError for no number."""
        found = []
        if self.label_column:
            found.append(f'data.label="{self.label_column}"')
        if self.views:
            names = ", ".join(f'"{name.strip()}"' for name in self.views.split(","))
            found.append(f"tokenize.views=[{names}]")
        if self.heldout is not None:
            found.append(f"data.heldout={self._count(data)}")
        return found

    def _count(self, data: DataConfig) -> int:
        text = (self.heldout or "").strip()
        number, is_share = text.removesuffix("%"), text.endswith("%")
        try:
            value = float(number) if is_share else int(number)
        except ValueError:
            raise InputError(f"--heldout {text} is neither a number of images nor 5%") from None
        if is_share and not 0 <= value <= 50:
            raise InputError(f"--heldout {text} must be 0% to 50%")
        return round(len(open_source(data).rows) * value / 100) if is_share else int(value)


def read_data(
    path: str,
    settings: Iterable[str] = (),
    options: DataOptions = DataOptions(),
    needs: Iterable[str] = (),
) -> Recipe:
    """The recipe at `path`, or the one that the images there stand for; options come first.

    `needs` are the sections that must be there; the model of images without a recipe is chosen by
    `options.image_size`. InputError names what is missing.
    """
    if path.lower().endswith(RECIPE):
        if options.image_size is not None:
            raise InputError(
                "--image-size is for images without a recipe: set autoencoder.model.image_size"
            )
        data = load_recipe(path, settings, needs=("data",)).data
        return load_recipe(path, [*options.settings(data), *settings], warn=False, needs=needs)
    found = find_data(path)
    if "autoencoder.model" in needs and options.image_size is None:
        raise InputError(
            f"{path} is {found.said}, not a recipe: say --image-size, one of "
            f"{', '.join(map(str, MULTIPLIERS))}"
        )
    table: dict[str, Any] = {"data": {"source": found.data.source.value, "path": found.data.path}}
    overridden(Recipe, table, [s for s in settings if s.startswith("data.")])
    try:
        data = resolved(table).data
        overridden(Recipe, table, options.settings(data))
        if options.image_size is not None:
            count = len(open_source(resolved(table).data).rows)
            table["autoencoder"] = sizes_for(options.image_size, count).table()
        recipe = resolved(overridden(Recipe, table, settings))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    log.info("%s: %s", path, found.said)
    recipe.require(*needs, name=path)
    return recipe


def init_recipe(path: str, options: DataOptions, tokenizer: Path | None = None) -> str:
    """The full commented recipe that images stand for, as TOML.

    Of the image size that is given, that of the tokenizer, or one that suits the images.
    """
    found = find_data(path)
    table: dict[str, Any] = {"data": {"source": found.data.source.value, "path": found.data.path}}
    overridden(Recipe, table, options.settings(found.data))
    source = open_source(resolved(table).data)
    table["data"].setdefault("heldout", 0)
    size, reason = options.image_size, "as asked for"
    from nvg.tokenizer.autoencoder import autoencoder_config  # here: it needs torch

    model = autoencoder_config(tokenizer) if tokenizer else None
    if model:
        size, reason = model.image_size, f"of {tokenizer}"
    elif size is None:
        size, reason = _size_of(source), "the largest that most images fill"
    sizes = sizes_for(size, len(source.rows), model=model)
    table["autoencoder"] = sizes.table()
    views = table.get("tokenize", {}).get("views", ["center"])
    table["tokenize"] = {"chunk_rows": 1024, "batch_size": 64, "views": views}
    table["generator"] = sizes.generator_table()
    head = [
        f"{path}: {found.said}, {len(source.rows):,} images in {len(source.classes)} classes.",
        "  nvgctl train autoencoder THIS.toml --out runs/autoencoder",
        "  nvgctl tokenize THIS.toml --tokenizer runs/autoencoder --out runs/train.vgs",
        "  nvgctl train generator THIS.toml --store runs/train.vgs --out runs/generator",
        "Every key and its default: docs/RECIPE.md",
    ]
    return commented(head, table, {**sizes.why, "autoencoder.model.image_size": reason})


def _size_of(source: Source) -> int:
    """The largest usual size that most of a few images fill; at most 256."""
    from pipeline.images.decode import ImageError, open_picture

    every = max(len(source.rows) // LOOKED_AT, 1)
    sides = []
    for data in source.read([row.key for row in source.rows[::every][:LOOKED_AT]]):
        if isinstance(data, bytes):
            with contextlib.suppress(ImageError):
                sides.append(min(open_picture(data, lambda image: image.size)))
    if not sides:
        raise InputError("none of the first images can be read: say --image-size")
    middle = sorted(sides)[len(sides) // 2]
    return max([size for size in MULTIPLIERS if size <= min(middle, 256)], default=16)
