"""The engines that drive chunks through decoding, encoding and committing: Ray Data, or inline."""

import logging
import os
import pickle
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import nvg
import pipeline
from nvg.errors import InputError
from pipeline.blocks import Block
from pipeline.plan import ChunkTask
from pipeline.report import Work
from pipeline.tokenize import ChunkDecoder, ChunkTokenizer, commit_chunk

LISTENER_SECONDS = 10.0
CHUNK = "chunk"  # the one column that Ray sees: a chunk in some state, pickled


class Engine(StrEnum):
    """Where chunks are processed."""

    RAY = "ray"
    INLINE = "inline"


@dataclass(frozen=True)
class Steps:
    """What is done to every chunk; travels to workers."""

    decode: ChunkDecoder
    tokenizer: Path
    batch_size: int
    store_path: str


def run_chunks(
    steps: Steps, tasks: list[ChunkTask], engine: Engine, address: str | None
) -> tuple[Work, Iterator[Block]]:
    """The record of the work, and the counts of each chunk as it is committed, in any order."""
    if engine is Engine.INLINE:
        return Work(engine.value, "1 process"), _inline(steps, tasks)
    cpus, gpus = _start_ray(address)
    workers = min(gpus or cpus, len(tasks))
    resources = f"{workers} encoders on {cpus} CPUs and {gpus} GPUs"
    chunks = _ray_on_gpus if gpus else _ray_on_cpus
    return Work(engine.value, resources), chunks(steps, tasks, workers, cpus)


def _inline(steps: Steps, tasks: list[ChunkTask]) -> Iterator[Block]:
    """One chunk after another in this process."""
    encode = ChunkTokenizer(steps.tokenizer, steps.batch_size)
    for task in tasks:
        yield commit_chunk(encode(steps.decode(task)), steps.store_path)


def _ray_on_cpus(steps: Steps, tasks: list[ChunkTask], workers: int, _cpus: int) -> Iterator[Block]:
    """One actor per core does all steps of a chunk: pixels and tokens never leave its process."""
    import ray

    actors = ray.data.ActorPoolStrategy(size=workers)
    counts = _task_rows(tasks).map_batches(
        _WholeChunk, fn_constructor_args=(steps,), batch_size=1, compute=actors, num_cpus=1
    )
    return _results(counts)


def _ray_on_gpus(steps: Steps, tasks: list[ChunkTask], workers: int, cpus: int) -> Iterator[Block]:
    """Decode tasks -> one encoder actor per GPU -> commit tasks; a block stays one chunk.

    Ray holds decoding back while its object store is full of pixels that no encoder has taken.
    """
    import ray

    actors = ray.data.ActorPoolStrategy(size=workers)
    committers = ray.data.TaskPoolStrategy(size=max(1, cpus // 4))
    counts = (
        _task_rows(tasks)
        .map_batches(_Decode(steps), batch_size=1, num_cpus=1)
        .map_batches(
            _Encode, fn_constructor_args=(steps,), batch_size=1, compute=actors, num_gpus=1
        )
        .map_batches(_Commit(steps), batch_size=1, num_cpus=1, compute=committers)
    )
    return _results(counts)


def _task_rows(tasks: list[ChunkTask]) -> Any:
    """A dataset whose rows are chunks, each in a block of its own: nothing splits or joins them."""
    import ray

    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{CHUNK: pickle.dumps(task)} for task in tasks]
    return ray.data.from_items(items, override_num_blocks=len(items))


def _results(counts: Any) -> Iterator[Block]:
    """The counts as they arrive; what a worker raised is raised here, as it was there."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # after Ray has set up its own
    for row in counts.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=0):
        found = pickle.loads(row[CHUNK][0])
        if isinstance(found, Exception):
            raise found
        yield found


class _Step(ABC):
    """A step over rows of Ray. What it raises travels on in its place: Ray keeps the text only."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        found = pickle.loads(row[CHUNK][0])
        if not isinstance(found, Exception):
            try:
                found = self.work(found)
            except Exception as error:
                found = _portable(error)
        return {CHUNK: np.array([pickle.dumps(found)], dtype=object)}

    @abstractmethod
    def work(self, chunk: Any) -> Block:
        """The step itself."""


class _Decode(_Step):
    def work(self, chunk: ChunkTask) -> Block:
        """The pixels of a task."""
        return self.steps.decode(chunk)


class _Encode(_Step):
    threads: int | None = None

    @cached_property
    def encode(self) -> ChunkTokenizer:
        """The encoder, loaded once for an actor."""
        return ChunkTokenizer(self.steps.tokenizer, self.steps.batch_size, self.threads)

    def work(self, chunk: Block) -> Block:
        """The tokens of pixels."""
        return self.encode(chunk)


class _Commit(_Step):
    def work(self, chunk: Block) -> Block:
        """The counts of tokens that are written."""
        return commit_chunk(chunk, self.steps.store_path)


class _WholeChunk(_Encode):
    threads = 1

    def work(self, chunk: Any) -> Block:
        """All three."""
        return commit_chunk(self.encode(self.steps.decode(chunk)), self.steps.store_path)


def _portable(error: Exception) -> Exception:
    """The error, or its words where it does not survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _start_ray(address: str | None) -> tuple[int, int]:
    """Join the cluster at `address` or RAY_ADDRESS, or start one here; its CPUs and GPUs.

    A job's driver joins its own cluster, whose workers have the job's files; any other cluster is
    given this code.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else a warning for every run
    import ray

    wanted = address or os.environ.get("RAY_ADDRESS")
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    options: dict[str, Any] = {} if wanted else {"include_dashboard": False}
    if wanted and not in_job:
        packages = [str(Path(package.__file__ or "").parent) for package in (nvg, pipeline)]
        options["runtime_env"] = {"py_modules": packages}
    if not ray.is_initialized():
        try:
            ray.init(wanted or "local", log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"no Ray cluster answers at {wanted}: {reason}") from None
    deadline = time.monotonic() + 30  # nodes of a young cluster report their resources late
    while not (found := ray.cluster_resources()).get("CPU") and time.monotonic() < deadline:
        time.sleep(0.5)
    if not found.get("CPU"):
        raise InputError(f"the Ray cluster at {wanted} has no CPUs: add a node")
    return int(found["CPU"]), int(found.get("GPU", 0))


def require_listener(address: str | None) -> None:
    """InputError when nothing listens at HOST:PORT: Ray would try for minutes."""
    address = address or os.environ.get("RAY_ADDRESS")
    if not address or address == "auto":
        return
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=LISTENER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(f"no Ray cluster answers at {address}: {error}") from None
