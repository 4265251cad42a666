"""Where the files of a store of version 2 are: shards, and chunks that wait for theirs to be whole.

Legend: R row of the store.
"""

from functools import cached_property, partial
from itertools import groupby

import numpy as np

from nvg.files import is_there
from nvg.format.record import record_name
from nvg.format.schema import array_shapes
from nvg.format.shard_file import most_bytes
from nvg.format.staging import STAGING, staged_folder, staged_name
from nvg.store.store import Store


def index_name(shard: int) -> str:
    """Where the index rows of a shard are."""
    return f"index/{shard:05d}.parquet"


class Shards(Store):
    """The shards of a store of version 2, and which of them are there."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        assert self.manifest.shard_rows is not None
        self.shard_rows: int = self.manifest.shard_rows
        self.per_shard = self.shard_rows // self.manifest.chunk_rows
        self._sealed: set[int] = set()

    @property
    def shards(self) -> int:
        """How many shards the store has when finished."""
        return -(-len(self) // self.shard_rows)

    def shard_slice(self, shard: int) -> slice:
        """Rows of one shard."""
        start = shard * self.shard_rows
        return slice(start, min(start + self.shard_rows, len(self)))

    def chunks_of(self, shard: int) -> range:
        """The chunks of one shard."""
        first = shard * self.per_shard
        return range(first, min(first + self.per_shard, self.chunks))

    def sealed(self) -> list[int]:
        """Shards that have a record, ascending."""
        if not self.is_listed:
            return list(range(self.shards)) if self.finished else []
        return self.listing.numbers("commits", record_name, self.shards, self.finished)

    def staged(self, shard: int) -> list[int]:
        """Chunks of a shard that wait for others, ascending."""
        own = self.chunks_of(shard)
        found = self.listing.shown(staged_folder(shard), partial(staged_name, shard))
        return [chunk for chunk in found if chunk in own]

    def committed(self) -> list[int]:
        """Chunks of sealed shards, and those that wait, ascending; over https see `StoreFiles`."""
        found: set[int] = set()
        if not self.finished and self.is_listed:  # first: another may seal a shard between the two
            found |= {
                n
                for shard in self.listing.shown(STAGING, staged_folder)
                for n in self.staged(shard)
            }
        return sorted(found.union(*map(self.chunks_of, self.sealed())))

    def is_sealed(self, shard: int) -> bool:
        """Whether a shard has a record."""
        if not self.finished and shard not in self._sealed:
            if not is_there(self.fs, f"{self.root}/{record_name(shard)}"):
                return False
            self._sealed.add(shard)
        return True

    def missing(self) -> list[int]:
        """Chunks that are not there, whatever a listing says; perhaps not all, none if none is."""
        left = sorted({*range(self.chunks)}.difference(self.committed()))
        for shard, own in groupby(left, lambda chunk: chunk // self.per_shard):
            absent = self.listing.absent([*own], partial(staged_name, shard))
            if absent and not self.is_sealed(shard):  # also just now, by another
                return absent
        return []

    @cached_property
    def _most_bytes(self) -> dict[str, int]:
        """What a chunk of each array takes at most, as it is stored."""
        rows, shapes = self.manifest.chunk_rows, array_shapes(self.manifest)
        sizes = {
            name: np.dtype(kind).itemsize * rows * int(np.prod(shape[1:]))
            for name, (kind, shape) in shapes.items()
        }
        return {name: most_bytes(size) for name, size in sizes.items()}

    @cached_property
    def _ends(self) -> dict[str, str]:
        """What follows the number of a shard in the name of its file, by array."""
        shapes = array_shapes(self.manifest)
        return {name: "/0" * (len(shape) - 1) for name, (_, shape) in shapes.items()}

    def _file(self, name: str, shard: int) -> str:
        return f"{name}/c/{shard}{self._ends[name]}"
