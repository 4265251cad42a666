"""Where images come from: list rows deterministically, read the bytes of some."""

from collections.abc import Callable

from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources.base import Row, Source, SourceError, digest, split_rows
from pipeline.sources.digits import DigitsSource
from pipeline.sources.folder import FolderSource
from pipeline.sources.found import find_data
from pipeline.sources.huggingface import ArrowSource, ParquetSource
from pipeline.sources.manifest import ManifestSource
from pipeline.sources.names import left_out_lines
from pipeline.sources.place import Place
from pipeline.sources.webdataset import TarSource

__all__ = [
    "ArrowSource",
    "DigitsSource",
    "FolderSource",
    "ManifestSource",
    "ParquetSource",
    "Place",
    "Row",
    "Source",
    "SourceError",
    "TarSource",
    "digest",
    "find_data",
    "left_out_lines",
    "open_source",
    "split_rows",
]

OPENERS: dict[SourceKind, Callable[[str], Source]] = {
    SourceKind.FOLDER: FolderSource,
    SourceKind.PARQUET: ParquetSource,
    SourceKind.ARROW: ArrowSource,
    SourceKind.WEBDATASET: TarSource,
    SourceKind.MANIFEST: ManifestSource,
}

LABELLED: dict[SourceKind, Callable[[str, str], Source]] = {
    SourceKind.PARQUET: ParquetSource,
    SourceKind.ARROW: ArrowSource,
    SourceKind.MANIFEST: ManifestSource,
}


def open_source(config: DataConfig) -> Source:
    """The source a recipe names. SourceError when it is missing or empty."""
    if config.source is SourceKind.DIGITS:
        return DigitsSource()
    if not config.path:
        raise SourceError(f"data.path is missing: a {config.source.value} source needs one")
    try:
        exists = bool(Place(config.path).matches())
    except Exception as error:  # of any storage: no such protocol, no package, no credentials
        reason = str(error).splitlines()[0]
        raise SourceError(f"data.path {config.path} cannot be reached: {reason}") from error
    if not exists:
        raise SourceError(f"data.path {config.path} does not exist")
    if not config.label:
        return OPENERS[config.source](config.path)
    if config.source not in LABELLED:
        raise SourceError(f"data.label names a column, and a {config.source.value} source has none")
    return LABELLED[config.source](config.path, config.label)
