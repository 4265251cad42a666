"""A recipe: everything one dataset needs, from data to sampling, in one TOML file."""

from dataclasses import dataclass, field
from enum import StrEnum

from nvg.autoencoder import AutoencoderConfig
from nvg.config import require_positive
from nvg.sampler import SamplerConfig
from nvg.train_autoencoder import AutoencoderTraining
from nvg.train_generator import GeneratorConfig


class SourceKind(StrEnum):
    """Where images come from."""

    DIGITS = "digits"
    FOLDER = "folder"
    PARQUET = "parquet"
    ARROW = "arrow"
    WEBDATASET = "webdataset"
    MANIFEST = "manifest"


class View(StrEnum):
    """A deterministic view of an image that is stored."""

    CENTER = "center"
    FLIP = "flip"


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, and how many of them are kept aside for measuring."""

    source: SourceKind
    path: str = ""
    heldout: int = 0
    segments: str = ""
    """Folder of label maps, one KEY.png per image, for the structure builder `segments`."""


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """How the offline pass runs. A chunk is the unit of work, of commit and of resume."""

    chunk_rows: int = 1024
    batch_size: int = 64
    views: tuple[View, ...] = (View.CENTER,)

    def __post_init__(self) -> None:
        require_positive(self, "chunk_rows", "batch_size")
        if not self.views or len(set(self.views)) != len(self.views):
            raise ValueError("views must name at least one view, each once")


@dataclass(frozen=True, kw_only=True)
class AutoencoderSection:
    """The tokenizer and its training."""

    model: AutoencoderConfig
    train: AutoencoderTraining = field(default_factory=AutoencoderTraining)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One dataset's whole path."""

    data: DataConfig
    autoencoder: AutoencoderSection
    generator: GeneratorConfig
    tokenize: TokenizeConfig = field(default_factory=TokenizeConfig)
    sample: SamplerConfig = field(default_factory=SamplerConfig)
