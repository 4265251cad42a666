"""A share of a store, written by one of several independent jobs; the last one joins the store."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from nvg.errors import InputError, full_disk_named
from nvg.format.base import StoreError
from nvg.format.damage import DamageError
from nvg.store import StoreWriter, open_writer, store_exists
from nvg.store.layout import require_free
from pipeline.recipe import Recipe
from pipeline.tokenize.dataset import (
    RESUME,
    Pass,
    PassMode,
    absolute,
    open_pass,
    tokenize_dataset,
)
from pipeline.tokenize.engine import Engine, Journal
from pipeline.tokenize.report import Report, Work, make_report
from pipeline.tokenize.share import (
    Share,
    forget_shares,
    layout_lock,
    note_shares,
    share_lock,
    shares_of,
)
from pipeline.tokenize.unread import withdraw_unread


@dataclass(frozen=True, kw_only=True)
class ShareReport:
    """A share that is written, of a store that others have not finished yet."""

    store: str
    share: Share
    chunks: int
    """Its own."""
    missing: int
    """Chunks of the other shares."""
    of: int
    errors: int
    work: Work

    def lines(self) -> list[str]:
        """One screen."""
        lines = [
            f"{self.store}: part {self.share} is written, {self.chunks} chunks with {self.errors} "
            f"errors; {self.missing} of {self.of} chunks are missing, the last part joins them"
        ]
        if self.work.images:
            lines.append(f"this pass: {self.work.images} images in {self.work.elapsed:.0f} s")
        return lines


def tokenize_images(
    recipe: Recipe,
    tokenizer: Path,
    out: str,
    engine: Engine,
    mode: PassMode,
    *,
    part: str | None = None,
    address: str | None = None,
    break_lock: bool = False,
    trust: bool = False,
) -> Report | ShareReport:
    """`tokenize_share` of the `part` that is named as 3/64, else `tokenize_dataset`.

    InputError for a part that is none, or that is to be done in a way that shares do not know.
    """
    if part is None:
        options = {"break_lock": break_lock, "trust": trust}
        return tokenize_dataset(recipe, tokenizer, out, engine, mode, address=address, **options)
    share = Share.parse(part)
    if mode is PassMode.EXTEND or break_lock:
        raise InputError("--part takes neither --extend nor --break-lock: leave --part out")
    resume = mode is PassMode.RESUME
    return tokenize_share(
        recipe, tokenizer, out, share, engine, resume, address=address, trust=trust
    )


def tokenize_share(
    recipe: Recipe,
    tokenizer: Path,
    out: str,
    share: Share,
    engine: Engine = Engine.INLINE,
    resume: bool = False,
    *,
    address: str | None = None,
    trust: bool = False,
) -> Report | ShareReport:
    """Write the chunks of one share of the store `out`; the report of the store, if that ends it.

    Jobs of other shares may run at the same time: the first lays the store out, the one after which
    no chunk is missing joins it. With `resume` what is missing of the share is written. A pass
    without a share that resumes (`tokenize_dataset`) writes whatever is missing. Errors as of
    `tokenize_dataset`; StoreError also for a store that was begun whole or in other shares.
    """
    out = absolute(out)
    with ExitStack() as held, full_disk_named(out, RESUME):
        with layout_lock(out):
            held.enter_context(share_lock(out, share))
            require_shared(out, share, resume)
            mode = PassMode.RESUME if store_exists(out) else PassMode.NEW
            job = open_pass(recipe, tokenizer, out, engine, mode, address=address, trust=trust)
            store = _begun(job, share)
        own, work = share.chunks(store.chunks, store.per_shard), Work(engine.value)
        if not store.finished:
            if resume:
                withdraw_unread(store, job.images.source, own)
            work = job.run(store, own, share.name)
        _join(out)
    store = open_writer(out)
    if not store.finished:
        return _share_report(store, share, work)
    report = make_report(store, work, job.images.source.left_out)
    report.write()
    return report


def require_shared(out: str, share: Share, resume: bool) -> None:
    """StoreError where the store at `out` is not one that this share may be written to."""
    if not store_exists(out):
        return
    store, of = open_writer(out), shares_of(out)
    if store.finished:
        if resume:
            return
        raise StoreError(f"{out} exists: continue it with --resume, or choose another --out")
    if of is None:
        raise StoreError(
            f"{out} was begun whole: complete it with --resume and without --part, or choose "
            "another --out"
        )
    if of != share.of:
        raise StoreError(
            f"{out} was begun in {of} parts: name one of them, 1/{of} to {of}/{of}, or complete it "
            "with --resume and without --part"
        )
    if not resume and {*store.committed()} & {*share.chunks(store.chunks, store.per_shard)}:
        raise StoreError(f"part {share} of {out} has been begun: continue it with --resume")


def _begun(job: Pass, share: Share) -> StoreWriter:
    """The store, laid out by this job or by another one."""
    if not store_exists(job.out):
        try:
            require_free(job.out, "continue it with --resume")
            note_shares(job.out, share)
            return job.begin(goes_on=False)
        except StoreError:
            if not store_exists(job.out):
                raise  # else another job has just laid it out
    return job.begin(goes_on=True, own=share)


def _join(out: str) -> None:
    """Finish the store where no chunk is missing; another job may do it first, or at once."""
    with layout_lock(out):
        store = open_writer(out)
        if not store.finished:
            if store.missing():
                return
            try:
                store.finish()
            except (FileNotFoundError, DamageError):
                if not open_writer(out).finished:
                    raise
        forget_shares(out)
        Journal.forget(out)


def _share_report(store: StoreWriter, share: Share, work: Work) -> ShareReport:
    own = share.chunks(store.chunks, store.per_shard)
    return ShareReport(
        store=store.path,
        share=share,
        chunks=len(own),
        missing=store.chunks - len({*store.committed(), *own}),
        of=store.chunks,
        errors=sum(store.commit_record(chunk).errors for chunk in own),
        work=work,
    )
