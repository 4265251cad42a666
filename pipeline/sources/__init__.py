"""Where images come from: list rows deterministically, read the bytes of some."""

from collections.abc import Callable
from pathlib import Path

from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources.base import Row, Source, SourceError, digest, size_of, split_rows
from pipeline.sources.digits import DigitsSource
from pipeline.sources.folder import FolderSource
from pipeline.sources.huggingface import ArrowSource, ParquetSource
from pipeline.sources.manifest import ManifestSource
from pipeline.sources.webdataset import TarSource

__all__ = [
    "ArrowSource",
    "DigitsSource",
    "FolderSource",
    "ManifestSource",
    "ParquetSource",
    "Row",
    "Source",
    "SourceError",
    "TarSource",
    "digest",
    "open_source",
    "size_of",
    "split_rows",
]

OPENERS: dict[SourceKind, Callable[[Path], Source]] = {
    SourceKind.FOLDER: FolderSource,
    SourceKind.PARQUET: ParquetSource,
    SourceKind.ARROW: ArrowSource,
    SourceKind.WEBDATASET: TarSource,
    SourceKind.MANIFEST: ManifestSource,
}


def open_source(config: DataConfig) -> Source:
    """The source a recipe names. SourceError when it is missing or empty."""
    if config.source is SourceKind.DIGITS:
        return DigitsSource()
    if not config.path:
        raise SourceError(f"data.path is missing: a {config.source.value} source needs one")
    path = Path(config.path).expanduser().absolute()  # workers may stand elsewhere
    if not path.exists():
        raise SourceError(f"data.path {config.path} does not exist")
    return OPENERS[config.source](path)
