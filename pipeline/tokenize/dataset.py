"""The offline pass: every image of a recipe into a store, which is begun, resumed or extended."""

import logging
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nvg.errors import full_disk_named
from nvg.progress import progress
from nvg.store import Store, StoreWriter
from nvg.store.lock import writer_lock
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from pipeline.cluster import OnRay, require_listener
from pipeline.images.recipe_images import RecipeImages, open_images
from pipeline.images.threads import decode_threads
from pipeline.recipe import Recipe
from pipeline.sources import Counting
from pipeline.sources.counts import in_threads
from pipeline.tokenize.chunk import ChunkDecoder
from pipeline.tokenize.engine import Engine, Journal, run_chunks
from pipeline.tokenize.estimate import chunk_bytes
from pipeline.tokenize.extend import extend_store
from pipeline.tokenize.features import FeatureJob, prepare_features
from pipeline.tokenize.manifest import as_begun, make_manifest, prepare_store
from pipeline.tokenize.plan import Plan, counts_file, plan_chunks, plan_rows, restore_order
from pipeline.tokenize.ray_steps import Steps
from pipeline.tokenize.report import Report, Work, make_report
from pipeline.tokenize.share import Share, forget_shares, require_no_jobs
from pipeline.tokenize.tokenizer import with_tokenizer
from pipeline.tokenize.unread import withdraw_unread

log = logging.getLogger("nvg")

RESUME = "go on with --resume"
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
    job = open_pass(recipe, tokenizer, out, engine, mode, address=address, trust=trust)
    with full_disk_named(job.out, RESUME), writer_lock(job.out, break_lock):
        require_no_jobs(job.out)
        if mode is PassMode.EXTEND:
            extend_store(job.out, job.recipe, job.images, job.model)
        store = job.begin(mode is not PassMode.NEW)
        if mode is PassMode.RESUME:
            withdraw_unread(store, job.images.source)
        else:
            forget_shares(job.out)
        work = Work(engine.value)
        if not store.finished:
            work = job.run(store, range(store.chunks))
            store.finish()
        forget_shares(job.out)
        Journal.forget(job.out)
        report = make_report(store, work, job.images.source.left_out)
    report.write()
    return report


@dataclass
class Pass:
    """A pass whose images are listed and whose tokenizer is loaded."""

    recipe: Recipe
    tokenizer: Path
    out: str
    engine: Engine
    address: str | None
    images: RecipeImages
    model: Autoencoder
    counting: Counting
    plan: Plan | None = None
    features: FeatureJob | None = None

    def begin(self, goes_on: bool, own: Share | None = None) -> StoreWriter:
        """The store, ready for its missing chunks; `goes_on` takes one that is there.

        See `prepare_store`.
        """
        heldout, shuffle = self.recipe.data.heldout, self.recipe.tokenize.shuffle
        self.plan = plan_rows(heldout, self.images.source, self.out, shuffle)
        self.features = prepare_features(self.recipe, self.images, self.plan.rows, self.out)
        info, files = (self.features.info, self.features.files()) if self.features else (None, {})
        manifest = make_manifest(self.recipe, self.images, self.model, self.plan, info)
        store = prepare_store(self.out, manifest, self.model, goes_on, files, own)
        self.counting.keep()
        restore_order(store, self.plan)
        return store

    def run(self, store: Store, own: range, name: str = "") -> Work:
        """Write those of its `own` chunks that have no commit record yet, in any order.

        `name` is that of a share, where there are several.
        """
        assert self.plan is not None, "begin comes first"
        done = set(store.committed())
        if not (todo := [chunk for chunk in own if chunk not in done]):
            return Work(self.engine.value)
        if self.recipe.data.exif is None:
            log.info(BEGUN_BEFORE, self.out)
        threads = decode_threads() if self.engine is Engine.INLINE else 1  # a worker has a core
        decode = ChunkDecoder(self.images, self.plan.classes, threads, self.recipe.data.path)
        tokenize, tokenizer = self.recipe.tokenize, self.tokenizer.absolute()
        chunks = plan_chunks(self.plan.rows, tokenize.chunk_rows)
        steps = Steps(decode, tokenizer, tokenize, self.out, chunks, self.features)
        began, errors = time.monotonic(), 0
        total, left = (sum(map(chunks.size, part)) for part in (own, todo))
        with progress(total=total, desc="tokenize", unit="image", smoothing=0.05) as bar:
            bar.update(total - left)
            work, counted = run_chunks(steps, todo, self.engine, self.address, name)
            for counts in counted:
                work.add(counts)
                errors += int(counts["errors"].sum())
                bar.set_postfix(errors=errors)
                bar.update(int(counts["rows"].sum()))
            work.elapsed = time.monotonic() - began
        return work


def open_pass(
    recipe: Recipe,
    tokenizer: Path,
    out: str,
    engine: Engine,
    mode: PassMode,
    *,
    address: str | None = None,
    trust: bool = False,
) -> Pass:
    """List the images and load the tokenizer; errors as of `tokenize_dataset`."""
    out = absolute(out)
    if engine is Engine.RAY:
        require_listener(address)
    recipe = with_tokenizer(recipe, tokenizer, trust)
    recipe = as_begun(recipe, out) if mode is not PassMode.NEW else recipe
    counting = Counting(OnRay(address) if engine is Engine.RAY else in_threads, counts_file(out))
    images = open_images(recipe, counting)
    chunk_bytes(images.crops, recipe.tokenize.chunk_rows)  # refuses chunks that are too large
    model = load_autoencoder(tokenizer)
    return Pass(recipe, tokenizer, out, engine, address, images, model, counting)


def absolute(out: str) -> str:
    """The place of a store for workers, which may run in another folder."""
    return out if "://" in out else os.path.abspath(out)
