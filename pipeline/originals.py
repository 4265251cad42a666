"""Original images beside a store, read only where the user says that they are.

A store tells paths and URLs, in its manifest and as keys. Whoever made it may have chosen them to
show a private file of this machine or to have another asked, so that none of them is opened: the
user names the source, and a key is read there only if it stays below.
"""

import contextlib
import logging
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

from nvg.errors import InputError
from nvg.store import Store
from nvg.view.html import Originals
from nvg.view.server import OriginalReader
from pipeline.images.blocks import decode_rows
from pipeline.images.crops import Crops
from pipeline.images.pixels import Reading
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import Place, Row, Source, open_source

log = logging.getLogger("nvg")

SHARDED = {SourceKind.PARQUET, SourceKind.ARROW, SourceKind.WEBDATASET}  # keys begin with a file


def original_reader(store: Store, place: str | None) -> OriginalReader | None:
    """Reads center crops of rows from the source at `place`; None where there is none to read.

    Without a place only the digits that come with scikit-learn are read. InputError where nothing
    can be read at `place`.
    """
    data = recorded_data(store)
    if place is None and (data is None or data.source is not SourceKind.DIGITS):
        said = f" (its recipe said {data.path!a})" if data and data.path else ""
        log.info("no originals are shown: say with --originals where they are%s", said)
        return None
    if data is None:
        raise InputError(f"{store.path} does not say what its originals are: leave --originals out")
    return OriginalImages(replace(data, path=place or "")).read


def recorded_data(store: Store) -> DataConfig | None:
    """What the store says of its source; None where that makes no sense."""
    with contextlib.suppress(InputError, LookupError, TypeError):
        return DataConfig.recorded(store.manifest.recipe["data"])
    return None


class OriginalImages:
    """The source that the user named, read as the store says: its kind, column and colours."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self.source: Source = open_source(data)
        self.place = Place(data.path)
        is_list = data.source is SourceKind.MANIFEST  # the user's: what it names is their word
        self.listed = {row.key for row in self.source.rows} if is_list else None

    def read(self, store: Store, rows: list[int]) -> Originals:
        """Those of the rows whose key the source has and whose picture can be read."""
        entries = [e for e in store.entries(rows) if self.holds(e["key"])]
        found: Originals = {}
        with contextlib.suppress(InputError, LookupError, OSError, ValueError):
            # Without labels: a class folder may have gone since, and with it the numbers.
            wanted = [Row(entry["key"], -1) for entry in entries]
            reading = Reading.of(self.data)
            crops = Crops(store.manifest.image_size)
            block = decode_rows(self.source, wanted, crops, reading=reading)
            for n, entry in enumerate(entries):
                if block["reason"][n] == "":
                    found[entry["row"]] = block["pixels"][n, 0].transpose(1, 2, 0)
        return found

    def holds(self, key: str) -> bool:
        """Whether a key is in the list, or is a plain path that stays below the place."""
        if self.listed is not None:
            return key in self.listed
        if self.data.source is SourceKind.DIGITS:
            return True
        name = key.partition(":")[0] if self.data.source in SHARDED else key
        parts = PurePosixPath(name).parts
        if "://" in key or "\0" in key or not parts or parts[0].startswith(("/", "~")):
            return False
        if ".." in parts:
            return False
        if not self.place.is_local or not self.place.is_dir():
            return True
        root = os.path.realpath(self.place.root)
        return Path(os.path.realpath(os.path.join(root, name))).is_relative_to(root)
