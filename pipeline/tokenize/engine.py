"""The engines that drive chunks through decoding, encoding and committing: Ray Data, or inline."""

import contextlib
import glob
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial

from nvg.files import is_local, storage
from nvg.training.background import Background
from pipeline.cluster import cluster_address, start_ray
from pipeline.images.blocks import Block
from pipeline.tokenize.chunk import commit_chunk
from pipeline.tokenize.encoders import fed_encoders
from pipeline.tokenize.plan import ChunkTask
from pipeline.tokenize.ray_steps import (
    Pool,
    Steps,
    ray_on_cpus,
    ray_on_gpus,
    room_of_an_encoder,
    with_attempts,
)
from pipeline.tokenize.report import Work

log = logging.getLogger("nvg")


class Engine(StrEnum):
    """Where chunks are processed."""

    RAY = "ray"
    INLINE = "inline"


def run_chunks(
    steps: Steps, todo: Sequence[int], engine: Engine, address: str | None, name: str = ""
) -> tuple[Work, Iterator[Block]]:
    """The record of the work, and the counts of each chunk as it is committed, in any order.

    `name` is that of the share, where several jobs write a store.
    """
    if engine is Engine.INLINE:
        return Work(engine.value, "1 process"), _inline(steps, todo, name)
    cpus, gpus = start_ray(address)
    pool, said = encoder_pool(steps, len(todo), cpus, gpus)
    if not cluster_address(address):  # no node joins this machine, so Ray need not look for room
        pool = replace(pool, most=pool.size)
    resources = f"{pool.size} encoders on {cpus} CPUs and {gpus} GPUs{said}"
    chunks = ray_on_gpus if gpus else ray_on_cpus
    return Work(engine.value, resources), chunks(with_attempts(steps), todo, pool)


def encoder_pool(steps: Steps, tasks: int, cpus: int, gpus: int) -> tuple[Pool, str]:
    """The encoders of a cluster for so many chunks, and what is said of those that share a GPU.

    What an encoder takes of a GPU is measured, where several would have cores and chunks enough.
    """
    asked = steps.config
    most = min(asked.encoders or tasks, tasks)
    each, said = asked.encoders_per_gpu or 1, ""
    if (
        gpus
        and not asked.encoders_per_gpu
        and most > gpus
        and (fed := fed_encoders(cpus, gpus)) > 1
    ):
        room = room_of_an_encoder(steps)
        each, said = (room.encoders(fed), f": {room}") if room else (1, "")
    said = f", {each} a GPU{said}" if each > 1 or said else ""
    return Pool(cpus, min(gpus * each or cpus, most), most, each), said


def _inline(steps: Steps, todo: Sequence[int], name: str) -> Iterator[Block]:
    """One chunk after another in this process.

    While one is encoded, the next is decoded and the one before committed.
    """
    encode, decoded, done = steps.encoder(), deque[Block](), deque[Block]()
    reader = Background()  # nobody waits for it where a signal ends the pass
    with Journal(steps.store_path, name) as journal, _writer() as writer:

        def decode(chunk: int) -> None:
            decoded.append(steps.decode(journal.begun(steps.chunks[chunk])))

        def commit(block: Block) -> None:
            done.append(commit_chunk(block, steps.store_path))

        reader.start(partial(decode, todo[0]))
        for later in (*todo[1:], None):
            reader.wait()
            block = decoded.popleft()
            if later is not None:
                reader.start(partial(decode, later))
            writer.start(partial(commit, encode(block)))
            yield from _drained(done)
        writer.wait()
        yield from _drained(done)


@contextlib.contextmanager
def _writer() -> Iterator[Background]:
    """One that has ended when the pass does, however that ends: its lock is then released."""
    writer = Background()
    try:
        yield writer
    finally:
        writer.wait()


def _drained(blocks: deque[Block]) -> Iterator[Block]:
    while blocks:
        yield blocks.popleft()


class Journal:
    """A file beside a store, `NAME.vgs.reading`, that names the chunk that is being decoded.

    Each job that writes a share has one of its own. It stays only where the process died of that:
    the next one decodes the chunk's images apart. A store that is finished has none.
    """

    def __init__(self, store: str, name: str = "") -> None:
        self.fs, root = storage(store)
        self.path, self.fatal = f"{root}.{name}{'.' * bool(name)}reading", ""

    @staticmethod
    def forget(store: str) -> None:
        """Remove what processes left that died after the last chunk was read, of all shares."""
        fs, root = storage(store)
        left = glob.glob(f"{glob.escape(root)}.part-*-of-*.reading") if is_local(fs) else []
        for path in (f"{root}.reading", *left):
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(path)

    def __enter__(self) -> "Journal":
        if self.fs.exists(self.path):
            self.fatal = self.fs.cat_file(self.path).decode(errors="replace")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path)

    def begun(self, task: ChunkTask) -> ChunkTask:
        """Note the task; the same, its images apart where it was the last process's end."""
        is_fatal = self.fatal == str(task.chunk)
        self.fs.pipe_file(self.path, str(task.chunk).encode())
        if is_fatal:
            log.warning("chunk %d: its images are decoded apart, as the last try died", task.chunk)
        return replace(task, isolated=is_fatal)
