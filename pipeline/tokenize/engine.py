"""The engines that drive chunks through decoding, encoding and committing: Ray Data, or inline."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

from pipeline.cluster import start_ray
from pipeline.images.blocks import Block
from pipeline.tokenize.chunk import commit_chunk
from pipeline.tokenize.plan import ChunkTask
from pipeline.tokenize.ray_steps import Steps, ray_on_cpus, ray_on_gpus
from pipeline.tokenize.report import Work


class Engine(StrEnum):
    """Where chunks are processed."""

    RAY = "ray"
    INLINE = "inline"


def run_chunks(
    steps: Steps, tasks: list[ChunkTask], engine: Engine, address: str | None
) -> tuple[Work, Iterator[Block]]:
    """The record of the work, and the counts of each chunk as it is committed, in any order."""
    if engine is Engine.INLINE:
        return Work(engine.value, "1 process"), _inline(steps, tasks)
    cpus, gpus = start_ray(address)
    workers = min(gpus or cpus, len(tasks))
    resources = f"{workers} encoders on {cpus} CPUs and {gpus} GPUs"
    chunks = ray_on_gpus if gpus else ray_on_cpus
    return Work(engine.value, resources), chunks(steps, tasks, workers, cpus)


def _inline(steps: Steps, tasks: list[ChunkTask]) -> Iterator[Block]:
    """One chunk after another in this process; the next is decoded while one is encoded."""
    encode, first = steps.encoder(), tasks[0]
    with ThreadPoolExecutor(1) as reader:
        decoded = reader.submit(steps.decode, first)
        for later in (*tasks[1:], None):
            block = decoded.result()
            if later:
                decoded = reader.submit(steps.decode, later)
            yield commit_chunk(encode(block), steps.store_path)
