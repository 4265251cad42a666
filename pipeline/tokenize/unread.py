"""Rows whose image storage did not give: `--resume` tries them again."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

from nvg.store import StoreWriter
from nvg.store.format import ERROR, INDEX_SCHEMA
from nvg.store.index import numbers
from nvg.store.repair import withdraw_chunks
from pipeline.images.blocks import UNREAD
from pipeline.sources import Source

log = logging.getLogger("nvg")


def withdraw_unread(store: StoreWriter, source: Source, own: range | None = None) -> list[int]:
    """Withdraw the chunks of which an image could not be read and now can; their numbers.

    A chunk whose images still cannot be read stays as it is. Where other jobs write the rest, only
    `own` chunks are looked at.
    """
    index = store.index if own is None else _index_of(store, own)
    lost = pc.and_(pc.equal(index["status"], ERROR), pc.starts_with(index["reason"], UNREAD))
    unread = index.filter(lost)
    keys: dict[int, list[str]] = {}
    for row, key in zip(numbers(unread, "row").tolist(), unread["key"].to_pylist(), strict=True):
        keys.setdefault(row // store.manifest.chunk_rows, []).append(key)
    found = [chunk for chunk, names in keys.items() if _reads_any(source, names)]
    if found:
        chunks = ", ".join(map(str, found))
        log.warning("%s: writing chunks again whose images can be read now: %s", store.path, chunks)
    withdraw_chunks(store, found)
    return found


def _index_of(store: StoreWriter, chunks: range) -> pa.Table:
    """The index rows of those chunks that are committed."""
    parts = [store.index_part(chunk) for chunk in store.committed() if chunk in chunks]
    return pa.concat_tables([INDEX_SCHEMA.empty_table(), *parts])


def _reads_any(source: Source, keys: list[str]) -> bool:
    try:
        return any(isinstance(data, bytes) for data in source.read(keys))
    except OSError:
        return False
