"""The files of a chunk as they lie: from the disk, or over the network by way of the cache."""

import asyncio
from collections.abc import Sequence

from fsspec.asyn import sync

from nvg.loader.chunk_cache import ChunkCache, Files
from nvg.store.store_files import StoreFiles


class ChunkFiles:
    """Reads files of the chunks of a plain store."""

    def __init__(self, store: StoreFiles) -> None:
        self.store = store
        self.cache = ChunkCache(store) if is_far(store) else None

    def read(self, chunk: int, names: Sequence[str]) -> Files:
        """Some files of a chunk; ValueError for what is no file."""
        if self.cache:
            return self.cache.files(chunk, names, self._fetched)
        return self._fetched(names)

    def drop(self, chunk: int) -> bool:
        """Have a chunk fetched anew; whether it was in the cache."""
        return self.cache is not None and self.cache.drop(chunk)

    def _fetched(self, names: Sequence[str]) -> Files:
        """Where the storage can do that, all at once: a round trip for all."""
        if not self.store.fs.async_impl:
            return {name: self._one(name) for name in names}
        files: Files = {}
        for name, answer in zip(names, sync(self.store.fs.loop, self._all, names), strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, FileNotFoundError):
                raise answer
            files[name] = None if isinstance(answer, FileNotFoundError) else answer
        return files

    async def _all(self, names: Sequence[str]) -> list[bytes | BaseException]:
        requests = [self.store.fs._cat_file(f"{self.store.root}/{name}") for name in names]
        return await asyncio.gather(*requests, return_exceptions=True)

    def _one(self, name: str) -> bytes | None:
        try:
            return self.store.read(name)
        except FileNotFoundError:
            return None


def is_far(store: StoreFiles) -> bool:
    """Whether a store is reached over a network, and not on a disk or in memory."""
    protocols = store.fs.protocol
    own = {protocols} if isinstance(protocols, str) else set(protocols)
    return not own & {"file", "memory"}
