"""The files of a chunk as they lie: from the disk, or over the network by way of the cache."""

import asyncio
import os
from collections.abc import Mapping, Sequence

from fsspec.asyn import sync

from nvg.files import is_local
from nvg.loader.chunk_cache import ChunkCache, Files
from nvg.loader.scratch import Bytes, Scratch
from nvg.store.store_files import Span, StoreFiles, part

Read = Mapping[str, bytes | Bytes | None]
"""Bytes by name, perhaps in memory that is used again; None for a file that there is not."""


class ChunkFiles:
    """Reads files of the chunks of a plain store."""

    def __init__(self, store: StoreFiles) -> None:
        self.store = store
        self.cache = ChunkCache(store) if is_far(store) else None
        self.is_on_disk = is_local(store.fs) and hasattr(os, "preadv")

    def read(self, chunk: int, spans: Mapping[str, Span], scratch: Scratch) -> Read:
        """Spans of some files, which are a chunk's; ValueError for what is no file."""
        if self.is_on_disk:
            for name, span in spans.items():
                self.store.require_readable(name, span)
            return {
                name: scratch.read(f"{self.store.root}/{name}", span, f"file {number}")
                for number, (name, span) in enumerate(spans.items())
            }

        def fetched(names: Sequence[str]) -> Files:
            return self._fetched({name: spans[name] for name in names})

        return self.cache.files(chunk, [*spans], fetched) if self.cache else self._fetched(spans)

    def drop(self, chunk: int) -> bool:
        """Have a chunk fetched anew; whether it was in the cache."""
        return self.cache is not None and self.cache.drop(chunk)

    def _fetched(self, spans: Mapping[str, Span]) -> Files:
        """Where the storage can do that, all at once: a round trip for all."""
        if not self.store.fs.async_impl:
            return {name: self._one(name, span) for name, span in spans.items()}
        files: Files = {}
        answers = sync(self.store.fs.loop, self._all, spans)
        for name, answer in zip(spans, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, FileNotFoundError):
                raise answer
            files[name] = None if isinstance(answer, BaseException) else part(answer, spans[name])
        return files

    async def _all(self, spans: Mapping[str, Span]) -> list[bytes | BaseException]:
        requests = [
            self.store.fs._cat_file(f"{self.store.root}/{name}", start=start, end=stop)
            for name, (start, stop) in spans.items()
        ]
        return await asyncio.gather(*requests, return_exceptions=True)

    def _one(self, name: str, span: Span) -> bytes | None:
        try:
            return self.store.read(name, *span)
        except FileNotFoundError:
            return None


def is_far(store: StoreFiles) -> bool:
    """Whether a store is reached over a network, and not on a disk or in memory."""
    protocols = store.fs.protocol
    own = {protocols} if isinstance(protocols, str) else set(protocols)
    return not own & {"file", "memory"}
