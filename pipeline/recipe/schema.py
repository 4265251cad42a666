"""A recipe: everything one dataset needs, from data to sampling, in one TOML file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from nvg.choices import EncoderPrecision
from nvg.config import ConfigError, build, read_table, require_not_negative, require_positive
from nvg.sampling.config import SamplerConfig
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.generator.config import GeneratorConfig
from pipeline.recipe import presets, profiles, views


class SourceKind(StrEnum):
    """Where images come from."""

    DIGITS = "digits"
    FOLDER = "folder"
    PARQUET = "parquet"
    ARROW = "arrow"
    WEBDATASET = "webdataset"
    MANIFEST = "manifest"


class View(StrEnum):
    """A stored view of an image: ADM's centre crop or its mirror image, ten-crop, random crops."""

    CENTER = "center"
    FLIP = "flip"
    TEN = "ten-crop"
    RANDOM = "random-crop"
    RANDOM_FLIP = "random-crop-flip"


class Exif(StrEnum):
    """What the EXIF orientation of a picture does."""

    TURN = "turn"
    IGNORE = "ignore"
    """As ADM, whose reference statistics are those of pictures as they are stored."""


class Icc(StrEnum):
    """What the ICC profile of a picture does."""

    SRGB = "srgb"
    """Its colours are converted to sRGB."""
    IGNORE = "ignore"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how many of them are held out for measuring."""

    source: SourceKind
    """Which kind of source."""
    path: str = ""
    """Of the source: a file, a folder, a pattern or a URL. `digits` needs none."""
    heldout: int = 0
    """How many, evenly spaced; 0 for none, and where the source has a val split of its own."""
    label: str | None = None
    """Column of labels in Parquet, Arrow and lists; without, the first of the usual names."""
    segments: str = ""
    """Folder of label maps, one KEY.png per image, for the structure builder `segments`."""
    # exif, icc and background are None of a store begun before there was a choice
    exif: Exif | None = Exif.TURN
    icc: Icc | None = Icc.SRGB
    background: str | None = "white"
    """Colour under transparent pixels: a name, or #rrggbb."""

    def __post_init__(self) -> None:
        from PIL import ImageColor  # here: a recipe of generators needs no pictures

        require_not_negative(self, "heldout")
        if self.background is not None:
            try:
                ImageColor.getrgb(self.background)
            except ValueError:
                raise ConfigError(
                    f"data.background must be a colour such as white or #808080, not "
                    f"{self.background!r}"
                ) from None

    @staticmethod
    def recorded(table: Mapping[str, Any]) -> "DataConfig":
        """The section as the manifest of a store has it: what it does not tell is None."""
        data = build(DataConfig, table)
        if "exif" in table:
            return data
        return replace(data, exif=None, icc=None, background=None)


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Features of every view, kept beside its tokens for alignment (REPA)."""

    weights: str
    """Local file with the weights of `model`."""
    model: str = "vit_base_patch14_dinov2"
    """A vision transformer by its name in timm; it sees one patch per latent position."""
    dims: int = 64
    """Components a patch is kept in, a byte each."""

    def __post_init__(self) -> None:
        require_positive(self, "dims")


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """How the offline pass runs. A chunk is the unit of work, of commit and of resume."""

    chunk_rows: int = 1024
    """Rows of a chunk: the unit of work, of commit and of resume."""
    batch_size: int = 64
    """Images encoded at once."""
    views: tuple[View, ...] = (View.CENTER,)
    """A row of the store has all of them; the loader picks one. Random crops may be repeated."""
    resize: float = 1.1
    """Short side of the image that ten-crop and random crops are cut from, in image sizes."""
    precision: EncoderPrecision = EncoderPrecision.FP32
    """Of the encoder alone: structure and tokens are found in exact float32."""
    shuffle: bool = False
    """Store runs of 64 neighbouring rows in a random order, for sources that are sorted."""
    encoders: int = 0
    """Most encoders of a pass on Ray; 0 for as many as the cluster has room for."""
    encoders_per_gpu: int = 0
    """How many share a GPU on Ray; 0 for as many as its memory and the CPU cores allow."""
    features: FeaturesConfig | None = None

    def __post_init__(self) -> None:
        require_positive(self, "chunk_rows", "batch_size")
        fixed = [view for view in self.views if view not in (View.RANDOM, View.RANDOM_FLIP)]
        if not self.views or len(set(fixed)) != len(fixed):
            raise ValueError("views must name at least one view, each once (random crops excepted)")
        if not 1 <= self.resize <= 4:
            raise ValueError(f"resize must be between 1 and 4, not {self.resize}")
        require_not_negative(self, "encoders", "encoders_per_gpu")


ABSENT: Any = None
"""A section that a recipe leaves out; `load_recipe` sees to it that a verb has those it needs."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderSection:
    """The tokenizer and its training."""

    model: AutoencoderConfig = ABSENT
    """Shape of the tokenizer."""
    train: AutoencoderTraining = field(default_factory=AutoencoderTraining)
    """How it is trained."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of one dataset, from images to samples."""

    data: DataConfig = ABSENT
    autoencoder: AutoencoderSection = ABSENT
    generator: GeneratorConfig = ABSENT
    tokenize: TokenizeConfig = field(default_factory=TokenizeConfig)
    sample: SamplerConfig = field(default_factory=SamplerConfig)

    def require(self, *sections: str, name: object = "the recipe") -> None:
        """ConfigError for a section (`autoencoder.model`) that is absent."""
        for section in sections:
            found: Any = self
            for part in section.split("."):
                found = getattr(found, part, None)
            if found is None:
                raise ConfigError(
                    f"{name} has no section [{section}], which is needed here: add it"
                )


def load_recipe(
    path: str | Path, overrides: Iterable[str] = (), warn: bool = True, needs: Iterable[str] = ()
) -> Recipe:
    """The recipe at `path`, overrides, preset and profile resolved; ConfigError names file and key.

    It has the sections `needs`. Without `warn` old names of keys are read in silence.
    """
    table = read_table(Recipe, path, overrides, warn)
    try:
        recipe = resolved(table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    recipe.require(*needs, name=path)
    return recipe


def resolved(table: dict[str, Any]) -> Recipe:
    """The recipe of a table with its preset and profile; ConfigError names the key."""
    return build(Recipe, profiles.expand(presets.expand(views.expand(table))))
