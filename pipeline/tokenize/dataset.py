"""The offline pass: every image of a recipe into a store, which is begun, resumed or extended."""

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from nvg.errors import WorkError
from nvg.progress import progress
from nvg.store import Store
from nvg.store.lock import writer_lock
from nvg.tokenizer.autoencoder import load_autoencoder
from pipeline.cluster import OnRay, require_listener
from pipeline.images.recipe_images import open_images
from pipeline.images.threads import decode_threads
from pipeline.recipe import Recipe
from pipeline.sources import Counting
from pipeline.sources.counts import in_threads
from pipeline.tokenize.chunk import ChunkDecoder
from pipeline.tokenize.engine import Engine, run_chunks
from pipeline.tokenize.estimate import chunk_bytes
from pipeline.tokenize.extend import extend_store
from pipeline.tokenize.features import prepare_features
from pipeline.tokenize.manifest import as_begun, make_manifest, prepare_store
from pipeline.tokenize.plan import plan_chunks, plan_rows, restore_order
from pipeline.tokenize.ray_steps import Steps
from pipeline.tokenize.report import Report, Work, make_report
from pipeline.tokenize.tokenizer import with_tokenizer
from pipeline.tokenize.unread import withdraw_unread

log = logging.getLogger("nvg")

BEGUN_BEFORE = (
    "%s was begun by a version that neither turned pictures by EXIF, nor read colour profiles and "
    "transparency: it goes on so; tokenize into another --out to have them"
)


class PassMode(StrEnum):
    """What a pass does with the store at its --out."""

    NEW = "new"
    RESUME = "resume"
    EXTEND = "extend"


def tokenize_dataset(
    recipe: Recipe,
    tokenizer: Path,
    out: str,
    engine: Engine = Engine.INLINE,
    mode: PassMode = PassMode.NEW,
    *,
    address: str | None = None,
    break_lock: bool = False,
    trust: bool = False,
) -> Report:
    """Tokenize every image of the recipe's source into the store `out`, and finish the store.

    RESUME skips committed chunks and writes damaged ones again; EXTEND adds images that are new in
    the source. `address` names a Ray cluster. One process at a time writes a store; `break_lock`
    takes over a lock that a dead one left on object storage. `trust` imports a structure builder
    that the tokenizer's file alone names. Raises SourceError, StoreError or
    CheckpointError on unusable input; a bad image is counted and becomes an error row.
    """
    out = out if "://" in out else os.path.abspath(out)  # workers may run in another folder
    if engine is Engine.RAY:
        require_listener(address)
    recipe = with_tokenizer(recipe, tokenizer, trust)
    recipe = as_begun(recipe, out) if mode is not PassMode.NEW else recipe
    counting = Counting(OnRay(address) if engine is Engine.RAY else in_threads, counts_file(out))
    images = open_images(recipe, counting)
    chunk_bytes(images.crops, recipe.tokenize.chunk_rows)  # refuses chunks that are too large
    model = load_autoencoder(tokenizer)
    with _full_disk_named(out), writer_lock(out, break_lock):
        if mode is PassMode.EXTEND:
            extend_store(out, recipe, images, model)
        plan = plan_rows(recipe.data.heldout, images.source, out)
        features = prepare_features(recipe, images, plan.rows, out)
        info, files = (features.info, features.files()) if features else (None, {})
        manifest = make_manifest(recipe, images, model, plan, info)
        store = prepare_store(out, manifest, model, mode is not PassMode.NEW, files)
        counting.keep()
        restore_order(store, plan)
        if mode is PassMode.RESUME:
            withdraw_unread(store, images.source)
        work = Work(engine.value)
        if not store.finished:
            if recipe.data.exif is None:
                log.info(BEGUN_BEFORE, out)
            threads = decode_threads() if engine is Engine.INLINE else 1  # a Ray worker has a core
            decode = ChunkDecoder(images, plan.classes, threads, recipe.data.path)
            chunks = plan_chunks(plan.rows, recipe.tokenize.chunk_rows)
            steps = Steps(decode, tokenizer.absolute(), recipe.tokenize, out, chunks, features)
            work = _run_steps(steps, store, engine, address)
            store.finish()
        report = make_report(store, work, images.source.left_out)
    report.write()
    return report


def counts_file(out: str) -> str:
    """Where what was counted of a source is kept, so that `--resume` need not count again."""
    return f"{out.rstrip('/')}.counts.json"


@contextmanager
def _full_disk_named(out: str) -> Iterator[None]:
    """WorkError with the remedy where the disk or a quota is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WorkError(
            f"{out}: no space is left to write to: free some, then go on with --resume"
        ) from error


def _run_steps(steps: Steps, store: Store, engine: Engine, address: str | None) -> Work:
    """Process the chunks that have no commit record yet, in whatever order they finish."""
    chunks, done, errors = steps.chunks, set(store.committed()), 0
    todo = [chunk for chunk in range(len(chunks)) if chunk not in done]
    if not todo:
        return Work(engine.value)
    total = len(chunks.rows)
    with progress(total=total, desc="tokenize", unit="image", smoothing=0.05) as bar:
        bar.update(total - sum(map(chunks.size, todo)))
        began = time.monotonic()
        work, counted = run_chunks(steps, todo, engine, address)
        for counts in counted:
            work.add(counts)
            errors += int(counts["errors"].sum())
            bar.set_postfix(errors=errors)
            bar.update(int(counts["rows"].sum()))
        work.elapsed = time.monotonic() - began
    return work
