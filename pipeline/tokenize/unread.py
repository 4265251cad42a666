"""Rows whose image storage did not give: `--resume` tries them again."""

import logging

import pyarrow.compute as pc

from nvg.format.base import ERROR
from nvg.format.index import numbers
from nvg.store import StoreWriter
from pipeline.images.blocks import UNREAD
from pipeline.sources import Source

log = logging.getLogger("nvg")


def withdraw_unread(store: StoreWriter, source: Source, own: range | None = None) -> list[int]:
    """Withdraw the chunks of which an image could not be read and now can; their numbers.

    A chunk whose images still cannot be read stays as it is. Where other jobs write the rest, only
    `own` chunks are looked at.
    """
    keys: dict[int, list[str]] = {}
    parts = store.index_tables()
    if own is not None:
        parts = (store.index_part(chunk) for chunk in store.committed() if chunk in own)
    for index in parts:
        lost = pc.and_(pc.equal(index["status"], ERROR), pc.starts_with(index["reason"], UNREAD))
        unread = index.filter(lost)
        rows, names = numbers(unread, "row").tolist(), unread["key"].to_pylist()
        for row, key in zip(rows, names, strict=True):
            keys.setdefault(row // store.manifest.chunk_rows, []).append(key)
    found = [chunk for chunk, names in keys.items() if _reads_any(source, names)]
    if found:
        chunks = ", ".join(map(str, found))
        log.warning("%s: writing chunks again whose images can be read now: %s", store.path, chunks)
    store.withdraw_chunks(found)
    return found


def _reads_any(source: Source, keys: list[str]) -> bool:
    try:
        return any(isinstance(data, bytes) for data in source.read(keys))
    except OSError:
        return False
