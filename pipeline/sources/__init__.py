"""Where images come from: list rows deterministically, read the bytes of some."""

from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources.base import Row, Source, SourceError, digest
from pipeline.sources.counts import Counting
from pipeline.sources.digits import DigitsSource
from pipeline.sources.folder import FolderSource
from pipeline.sources.found import find_data
from pipeline.sources.huggingface import ArrowSource, ParquetSource
from pipeline.sources.manifest import ManifestSource
from pipeline.sources.names import left_out_lines
from pipeline.sources.place import Place
from pipeline.sources.rows import Rows, split_rows
from pipeline.sources.webdataset import TarSource

__all__ = [
    "ArrowSource",
    "Counting",
    "DigitsSource",
    "FolderSource",
    "ManifestSource",
    "ParquetSource",
    "Place",
    "Row",
    "Rows",
    "Source",
    "SourceError",
    "TarSource",
    "digest",
    "find_data",
    "left_out_lines",
    "open_source",
    "split_rows",
]

TABLES: dict[SourceKind, type[ParquetSource] | type[ArrowSource]] = {
    SourceKind.PARQUET: ParquetSource,
    SourceKind.ARROW: ArrowSource,
}


def open_source(config: DataConfig, counting: Counting | None = None) -> Source:
    """The source a recipe names, whose files are counted in one way or another where it has parts.

    SourceError when it is missing or empty.
    """
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
    kind, path, label = config.source, config.path, config.label or ""
    if kind is SourceKind.MANIFEST:
        return ManifestSource(path, label)
    if kind in TABLES:
        return TABLES[kind](path, label, counting)
    if label:
        raise SourceError(f"data.label names a column, and a {kind.value} source has none")
    return FolderSource(path) if kind is SourceKind.FOLDER else TarSource(path, counting)
