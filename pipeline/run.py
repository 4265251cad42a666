"""The engines that drive the pass over a dataset: Ray Data, or inline in this process."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from nvg.errors import InputError
from nvg.progress import progress
from nvg.store import Store
from nvg.store_lock import writer_lock
from nvg.train_autoencoder import load_autoencoder
from pipeline.blocks import Block
from pipeline.plan import ChunkTask, make_manifest, plan_store, prepare_store
from pipeline.recipe import Recipe
from pipeline.sources import SourceError, open_source
from pipeline.tokenize import ChunkDecoder, ChunkTokenizer, commit_chunk


class Engine(StrEnum):
    """Where chunks are processed."""

    RAY = "ray"
    INLINE = "inline"


@dataclass(frozen=True)
class Outcome:
    """Counts of a finished pass."""

    rows: int
    errors: int


def tokenize_dataset(
    recipe: Recipe,
    tokenizer: Path,
    out: str,
    engine: Engine,
    resume: bool,
    break_lock: bool = False,
) -> Outcome:
    """Tokenize every image of the recipe's source into the store `out`, and finish the store.

    With `resume`, committed chunks are skipped. One process at a time writes a store; `break_lock`
    takes over a lock that a dead one left on object storage. Raises SourceError, StoreError,
    CheckpointError on input that cannot be used; a bad image is counted and leaves an error row.
    """
    source = open_source(recipe.data)
    model = load_autoencoder(tokenizer)
    if model.config != recipe.autoencoder.model:
        raise SourceError(
            f"{tokenizer} was trained with another [autoencoder.model] than the recipe's: use its "
            "own recipe"
        )
    tasks = plan_store(recipe, source)
    manifest = make_manifest(recipe, source, model, sum(len(task.rows) for task in tasks))
    with writer_lock(out, break_lock):
        store = prepare_store(out, manifest, model, resume)
        if not store.finished:
            decode = ChunkDecoder(source, recipe)
            encoder = (tokenizer.absolute(), recipe.tokenize.batch_size)
            _run_tasks(decode, encoder, store, tasks, engine)
            store.finish()
    return Outcome(len(store), store.manifest["errors"])


def _run_tasks(
    decode: ChunkDecoder,
    encoder: tuple[Path, int],
    store: Store,
    tasks: list[ChunkTask],
    engine: Engine,
) -> None:
    """Process the chunks that have no commit record yet, whatever order they finish in."""
    done = set(store.committed())
    todo = [task for task in tasks if task.chunk not in done]
    if not todo:
        return
    total = sum(len(task.rows) for task in tasks)
    run = _ray if engine is Engine.RAY else _inline
    errors = 0
    with progress(total=total, desc="tokenize", unit="image", smoothing=0.05) as bar:
        bar.update(total - sum(len(task.rows) for task in todo))
        for counts in run(decode, encoder, store.path, todo):
            errors += int(counts["errors"].sum())
            bar.set_postfix(errors=errors)
            bar.update(int(counts["rows"].sum()))


def _inline(
    decode: ChunkDecoder, encoder: tuple[Path, int], store_path: str, tasks: list[ChunkTask]
) -> Iterator[Block]:
    """One chunk after another in this process."""
    encode = ChunkTokenizer(*encoder)
    for task in tasks:
        yield commit_chunk(encode(decode(task)), store_path)


def _ray(
    decode: ChunkDecoder, encoder: tuple[Path, int], store_path: str, tasks: list[ChunkTask]
) -> Iterator[Block]:
    """Decode tasks -> encoder actors -> commit tasks, one block per chunk and no barrier."""
    import ray

    _start_ray()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    cpus = int(ray.cluster_resources()["CPU"])
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # a block must stay one chunk
    context.enable_progress_bars = False
    needs = {"num_gpus": 1} if gpus else {"num_cpus": 0.5}
    items = [{"task": task} for task in tasks]
    counts = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(_RayDecode(decode), batch_size=None, num_cpus=0.5)
        .map_batches(
            ChunkTokenizer,
            fn_constructor_args=(*encoder, None if gpus else 1),
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(size=min(gpus or cpus, len(tasks))),
            **needs,
        )
        .map_batches(
            _RayCommit(store_path),
            batch_size=None,
            num_cpus=0.25,
            compute=ray.data.TaskPoolStrategy(size=max(1, cpus // 4)),
        )
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # after Ray has set up its own
    yield from counts.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0)


class _RayDecode:
    """The decoder over a Ray block that holds one task."""

    def __init__(self, decode: ChunkDecoder) -> None:
        self.decode = decode

    def __call__(self, block: dict[str, Any]) -> Block:
        (task,) = block["task"]
        return self.decode(task)


class _RayCommit:
    """`commit_chunk` over a Ray block that is one tokenized chunk."""

    def __init__(self, store_path: str) -> None:
        self.store_path = store_path if "://" in store_path else os.path.abspath(store_path)

    def __call__(self, block: Block) -> Block:
        return commit_chunk(block, self.store_path)


def _start_ray() -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine, quietly."""
    import ray

    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            address = os.environ.get("RAY_ADDRESS")
            raise InputError(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}") from None
