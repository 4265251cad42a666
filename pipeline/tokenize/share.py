"""Shares of a store that independent jobs write: which chunks are whose, and who may write now.

Beside a store that is written so lies `NAME.vgs.parts`, which says how many shares there are.
"""

import contextlib
import glob
import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from nvg.errors import InputError
from nvg.files import is_local, json_bytes, parse_json, storage, write_bytes
from nvg.format.base import StoreError
from nvg.store.lock import writer_lock

WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
LAYOUT_SECONDS = 1800.0  # that a job waits while another counts images and lays the store out

log = logging.getLogger("nvg")


@dataclass(frozen=True)
class Share:
    """One of so many shares, counted from 1."""

    number: int
    of: int

    @staticmethod
    def parse(text: str) -> "Share":
        """Of `3/64`. InputError for anything else."""
        found = WRITTEN.fullmatch(text.strip())
        share = Share(*map(int, found.groups())) if found else None
        if share is None or not 1 <= share.number <= share.of:
            raise InputError(f"--part {text} must be 1/N to N/N, for example 3/64")
        return share

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """As part of a file's name."""
        return f"part-{self.number}-of-{self.of}"

    def chunks(self, count: int, together: int = 1) -> range:
        """Its own of so many chunks: neighbours, so that a job reads few files of the source.

        Those that lie `together` in a shard are one job's, where there are shards enough for all.
        """
        together = together if count >= self.of * together else 1
        units = -(-count // together)
        first, stop = (
            min(number * units // self.of * together, count)
            for number in (self.number - 1, self.number)
        )
        return range(first, stop)


def share_lock(out: str, share: Share) -> AbstractContextManager[None]:
    """Keeps a second job off the same share, on a disk; on object storage both write the same."""
    return writer_lock(out, name=share.name) if _is_local(out) else nullcontext()


@contextmanager
def layout_lock(out: str) -> Iterator[None]:
    """Held while a store is laid out or joined, on a disk. StoreError after LAYOUT_SECONDS.

    On object storage jobs write the same bytes, each object at once.
    """
    if not _is_local(out):
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(writer_lock(out))
        except StoreError as error:
            log.info("%s (%.0f minutes at most)", error, LAYOUT_SECONDS / 60)
            held.enter_context(writer_lock(out, seconds=LAYOUT_SECONDS))
        yield


def require_no_jobs(out: str) -> None:
    """StoreError while a job writes a share of the store, on a disk."""
    if not _is_local(out):
        return
    root = os.path.realpath(storage(out)[1])
    for lock in glob.glob(f"{glob.escape(root)}.part-*-of-*.lock"):
        with writer_lock(out, name=lock.removeprefix(f"{root}.").removesuffix(".lock")):
            pass  # of a job that has ended


def shares_of(out: str) -> int | None:
    """How many shares a store was begun in; None for one that was begun whole."""
    fs, path = storage(_note(out))
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        return int(parse_json(fs.cat_file(path))["of"])
    return None


def note_shares(out: str, share: Share) -> None:
    """Write how many there are."""
    fs, path = storage(_note(out))
    write_bytes(fs, path, json_bytes({"of": share.of}))


def forget_shares(out: str) -> None:
    """A store that is finished, or is begun whole, has none."""
    fs, path = storage(_note(out))
    with contextlib.suppress(FileNotFoundError):
        fs.rm_file(path)


def _note(out: str) -> str:
    return f"{out.rstrip('/')}.parts"


def _is_local(out: str) -> bool:
    return is_local(storage(out)[0])
