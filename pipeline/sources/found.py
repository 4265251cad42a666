"""What images a path holds, found by looking: the `data` section that it stands for."""

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from nvg.config import ConfigError
from nvg.errors import first_line
from nvg.files import is_url
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources.base import SourceError
from pipeline.sources.list_files import is_list
from pipeline.sources.names import SUFFIXES
from pipeline.sources.place import Place
from pipeline.sources.splits import WORDS
from pipeline.sources.tables import parquet_bytes

FILES = {
    ".parquet": (SourceKind.PARQUET, "Hugging Face Parquet"),
    ".arrow": (SourceKind.ARROW, "Hugging Face Arrow"),
    ".tar": (SourceKind.WEBDATASET, "tar shards"),
}
PACKED = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip", ".7z", ".rar")
KINDS = "a recipe (.toml), a folder, Parquet, Arrow, tar, CSV or JSON lines"


@dataclass(frozen=True)
class Found:
    """A kind of source, and its name for a reader."""

    data: DataConfig
    said: str


def find_data(path: str) -> Found:
    """The source that a path or URL is. SourceError for what is none, or cannot be reached."""
    try:
        files = Place(path).matches()
        if not files:
            answer = ", or its server does not answer" * is_url(path)
            raise SourceError(f"{path} does not exist{answer}: name {KINDS}")
        kind, said = _of_folder(files[0]) if files[0].is_dir() else _of_file(files[0])
    except (SourceError, ConfigError):
        raise
    except Exception as error:  # of any storage: no such protocol, no package, no credentials
        reason = getattr(error, "strerror", None) or first_line(error)
        raise SourceError(f"{path} cannot be reached: {reason}") from error
    return Found(DataConfig(source=kind, path=path), said)


def _of_folder(place: Place) -> tuple[SourceKind, str]:
    """Tables or shards where most of the files that are any of these are; else images."""
    folders = place.folders()
    inside = [place]
    if folders and set(folders) <= {*WORDS}:
        inside += [Place(f"{place}/{name}") for name in folders]
    names = [key for each in inside for key, _ in each.files(below=False)]
    counts = Counter(PurePosixPath(key).suffix for key in names)
    tables = {suffix: counts[suffix] for suffix in FILES if counts[suffix]}
    if {"manifest.json", "zarr.json"} <= {*names}:
        raise SourceError(f"{place} is a store of tokens: name the images that it was made of")
    if tables and not any(counts[suffix] for suffix in SUFFIXES):
        kind, said = FILES[max(tables, key=lambda suffix: tables[suffix])]
        return kind, f"a folder of {said}"
    return SourceKind.FOLDER, "a folder of images"


def _of_file(file: Place) -> tuple[SourceKind, str]:
    name = file.name.lower()
    suffix = PurePosixPath(name).suffix
    if name.endswith(PACKED):
        raise SourceError(f"{file} is packed: unpack it, and name the folder or the .tar")
    if suffix == ".parquet" and not _holds_images(file):
        return SourceKind.MANIFEST, "a list of images"
    if suffix in FILES:
        return FILES[suffix]
    if is_list(name):
        return SourceKind.MANIFEST, "a list of images"
    if suffix in SUFFIXES:
        raise SourceError(f"{file} is one image: name the folder that holds it")
    raise SourceError(f"{file} is no data that is known by its name: name {KINDS}")


def _holds_images(file: Place) -> bool:
    """Whether a Parquet file has a column of images, and is not a list of paths."""
    import pyarrow as pa

    try:
        with parquet_bytes(file) as reader:
            return any(pa.types.is_struct(field.type) for field in reader.schema_arrow)
    except (OSError, ValueError):
        return True  # which says what is wrong with it
