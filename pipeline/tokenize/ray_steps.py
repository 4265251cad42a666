"""Steps of Ray workers: a chunk is one row that Ray passes on unread.

Its pixels, nearly all of its bytes, are a column of numbers of their own, which the next worker
reads where the object store has them; the rest is pickled.
"""

import logging
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nvg.errors import WorkError
from pipeline.cluster import spilled_bytes
from pipeline.images.blocks import Block
from pipeline.recipe import TokenizeConfig
from pipeline.spilling import Spilling
from pipeline.tokenize.chunk import ChunkDecoder, ChunkTokenizer, commit_chunk
from pipeline.tokenize.encoders import Room, measured_room
from pipeline.tokenize.features import FeatureJob
from pipeline.tokenize.plan import Attempts, Chunks, ChunkTask

log = logging.getLogger("nvg")

CHUNK, PIXELS = "chunk", "pixels"  # the columns that Ray sees
MOST_ATTEMPTS = 10  # of a chunk; machines are lost too, by no fault of its images
NO_PIXELS = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Steps:
    """What is done to every chunk; travels to workers."""

    decode: ChunkDecoder
    tokenizer: Path
    config: TokenizeConfig
    store_path: str
    chunks: Chunks
    """The tasks by their numbers: a worker gets a number, and lists the rows itself."""
    features: FeatureJob | None = None
    attempts: Any = None
    """The actor of `Attempts`, on Ray."""

    def begun(self, task: ChunkTask) -> ChunkTask:
        """A task as a worker is to do it: images apart where it ended one before.

        WorkError where it has ended MOST_ATTEMPTS.
        """
        if self.attempts is None:
            return task
        import ray

        before = ray.get(self.attempts.begin.remote(task.chunk))
        if before >= MOST_ATTEMPTS:
            raise WorkError(
                f"chunk {task.chunk} (from row {task.start}, {task.rows[0].key}) has lost its "
                f"worker {before} times, and no image of it alone is the cause: give workers more "
                "memory, then go on with --resume"
            )
        return replace(task, isolated=before > 0)

    def encoder(self, threads: int | None = None) -> ChunkTokenizer:
        """The encoder of one process."""
        asked = self.config
        return ChunkTokenizer(
            self.tokenizer, asked.batch_size, threads, self.features, asked.precision
        )


@dataclass(frozen=True)
class Pool:
    """Encoders on a cluster of so many cores: at the beginning, and at most."""

    cpus: int
    size: int
    most: int
    per_gpu: int = 1


def with_attempts(steps: Steps) -> Steps:
    """The steps with an actor that counts attempts; Ray ends it with the last handle."""
    import ray

    # A lost node loses the counts, and no chunk for it.
    remote = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts)
    return replace(steps, attempts=remote.remote())


class Step(ABC):
    """A step over rows of Ray. An error travels on as the result: Ray would keep its text only."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        found = unpacked(row)
        if not isinstance(found, Exception):
            try:
                found = self.work(found)
            except Exception as error:
                found = portable(error)
        return packed(found)

    @abstractmethod
    def work(self, chunk: Any) -> Block:
        """The step itself."""


class Decode(Step):
    def work(self, chunk: int) -> Block:
        """The pixels of a chunk by its number."""
        return self.steps.decode(self.steps.begun(self.steps.chunks[chunk]))


class Encode(Step):
    threads: int | None = None

    @cached_property
    def encode(self) -> ChunkTokenizer:
        """The encoder, loaded once for an actor."""
        return self.steps.encoder(self.threads)

    def work(self, chunk: Block) -> Block:
        """The tokens of pixels."""
        return self.encode(chunk)


class Commit(Step):
    def work(self, chunk: Block) -> Block:
        """The counts of tokens that are written."""
        return commit_chunk(chunk, self.steps.store_path)


class WholeChunk(Encode):
    threads = 1

    def work(self, chunk: Any) -> Block:
        """All three."""
        task = self.steps.begun(self.steps.chunks[chunk])
        return commit_chunk(self.encode(self.steps.decode(task)), self.steps.store_path)


def packed(chunk: Any) -> dict[str, Any]:
    """The row of a chunk in some state: a number, a block, counts or an error."""
    pixels, shape = NO_PIXELS, None
    if isinstance(chunk, dict) and PIXELS in chunk:
        pixels, shape = chunk[PIXELS].reshape(-1), chunk[PIXELS].shape
        chunk = {name: column for name, column in chunk.items() if name != PIXELS}
    rest = pickle.dumps((chunk, shape))
    return {CHUNK: np.array([rest], dtype=object), PIXELS: pixels[None]}


def unpacked(row: dict[str, Any]) -> Any:
    """What `packed` was given; its pixels are the object store's, to be read only."""
    chunk, shape = pickle.loads(row[CHUNK][0])
    if shape is not None:
        chunk[PIXELS] = row[PIXELS][0].reshape(shape)
    return chunk


def portable(error: Exception) -> Exception:
    """The error, or its message where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def room_of_an_encoder(steps: Steps) -> Room | None:
    """Measured in a worker that has a GPU of the cluster for itself."""
    import ray

    views = len(steps.decode.images.crops.names())

    def measure() -> Room | None:
        return measured_room(steps.encoder(), views)

    found: Room | None = ray.get(ray.remote(num_gpus=1, max_calls=1)(measure).remote())
    return found


def ray_on_cpus(steps: Steps, todo: Sequence[int], pool: Pool) -> Iterator[Block]:
    """One actor per core does all steps of a chunk: pixels and tokens stay in its process."""
    counts = _task_rows(todo).map_batches(
        WholeChunk,
        fn_constructor_args=(steps,),
        batch_size=1,
        compute=encoder_actors(pool),
        num_cpus=1,
    )
    return _results(counts, steps)


def ray_on_gpus(steps: Steps, todo: Sequence[int], pool: Pool) -> Iterator[Block]:
    """Decode tasks -> encoder actors -> commit tasks; a block stays one chunk.

    Ray holds decoding back while its object store is full of pixels that no encoder has taken, and
    gives an encoder first those that lie on its node.
    """
    import ray

    committers = ray.data.TaskPoolStrategy(size=max(1, pool.cpus // 4))
    share = int(10_000 / pool.per_gpu) / 10_000  # Ray counts in such parts
    encoder: dict[str, Any] = {"compute": encoder_actors(pool), "num_gpus": share}
    counts = (
        _task_rows(todo)
        .map_batches(Decode(steps), batch_size=1, num_cpus=1)
        .map_batches(Encode, fn_constructor_args=(steps,), batch_size=1, **encoder)
        .map_batches(Commit(steps), batch_size=1, num_cpus=1, compute=committers)
    )
    return _results(counts, steps)


def encoder_actors(pool: Pool) -> Any:
    """Ray starts encoders on nodes that join, and ends some that wait for work."""
    import ray

    return ray.data.ActorPoolStrategy(min_size=1, initial_size=pool.size, max_size=pool.most)


def _task_rows(todo: Sequence[int]) -> Any:
    """A dataset of one chunk a row, each in its own block, so that Ray splits or joins none."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{CHUNK: packed(chunk)[CHUNK][0], PIXELS: NO_PIXELS} for chunk in todo]
    return ray.data.from_items(items, override_num_blocks=len(items))


def _results(counts: Any, steps: Steps) -> Iterator[Block]:
    """The counts as they arrive; an error of a worker is raised here."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # after Ray has set up its own
    spilling = Spilling(spilled_bytes)
    for row in counts.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
        found = unpacked(row)
        if isinstance(found, Exception):
            raise found
        spilling.look()
        yield found
    spilling.look(now=True)
    for chunk, times in ray.get(steps.attempts.repeated.remote()).items():
        log.warning(
            "chunk %d lost its worker%s: its images were decoded one by one in a process apart",
            chunk,
            f" {times} times" * (times > 1),
        )
