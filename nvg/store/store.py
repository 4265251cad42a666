"""The store on disk: Zarr arrays of tokens, an Arrow index, commit records (docs/FORMAT.md).

Legend: R row of the store, X view, N position, T token, S stage.

A `Store` reads; `nvg.store.writer` changes one.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.errors import WorkError
from nvg.files import is_there, storage
from nvg.format.base import (
    INDEX_FILE,
    INDEX_SCHEMA,
    OK,
    Split,
    StoreError,
    part_name,
    read_parquet,
)
from nvg.format.checks import chunk_faults, index_faults, missing_chunks, token_fault, weights_fault
from nvg.format.damage import DamageError, reading
from nvg.format.index import entries_of, has_status, in_split, numbers, with_split
from nvg.format.record import INDEX, record_name
from nvg.format.schema import require_index
from nvg.store.store_files import StoreFiles

Tokens = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[np.int64]]
INDEX_DAMAGED = "index cannot be read"
REPAIR = "repair it with `nvgctl tokenize ... --resume`"
VERIFY = "`nvgctl verify` names all that is wrong"
LOST_SUMS = "manifest.json has lost the checksums of its fields"


class Store(StoreFiles):
    """An existing store, to read: `len()`, `.geometry`, Zarr arrays `.leaves [R, X, N]`,
    `.content [R, X, T]`, `.label [R]`, and the Arrow table `.index`."""

    def count(self, split: Split) -> int:
        """Rows of one split, error rows included."""
        held_out = self.manifest.val_rows
        return held_out if split is Split.VAL else len(self) - held_out

    @cached_property
    def index(self) -> pa.Table:
        """One row per image, in order; of an unfinished store the committed chunks only.

        It has the columns of INDEX_SCHEMA; a store without `split` is all for training.
        """
        try:
            if self.finished:
                return self._table(INDEX_FILE, len(self))
            parts = [self._table(part_name(chunk)) for chunk in self.committed()]
            return pa.concat_tables(parts) if parts else INDEX_SCHEMA.empty_table()
        except DamageError as error:
            raise DamageError(f"{self.path}: {INDEX_DAMAGED} ({error}): {REPAIR}") from error

    def entry(self, row: int) -> dict[str, Any]:
        """Index entry of a row; StoreError if it is out of range or not committed yet."""
        return self.entries([row])[0]

    def entries(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Index entries of rows, in the order given; StoreError as for `entry`."""
        for row in rows:
            if not 0 <= row < len(self):
                raise StoreError(f"row {row} is out of range: {self.path} has 0..{len(self) - 1}")
        by_row = {entry["row"]: entry for entry in self._known(rows)}
        for row in rows:
            if row not in by_row:
                raise StoreError(f"row {row} is not committed yet in {self.path}")
        return [by_row[row] for row in rows]

    def _known(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Index entries of those rows that are committed."""
        return entries_of(self.index, rows)

    def token_entries(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The same; StoreError also for a row whose image could not be tokenized."""
        entries = self.entries(rows)
        for entry in entries:
            if entry["status"] != OK:
                raise StoreError(
                    f"row {entry['row']} of {self.path} has no tokens: {entry['reason']}"
                )
            if entry["stage_error"] is None:
                raise StoreError(
                    f"row {entry['row']} of {self.path} has lost its residuals; {VERIFY}"
                )
        return entries

    def require_finished(self) -> None:
        """StoreError unless finished."""
        if not self.finished:
            raise StoreError(
                f"{self.path} is unfinished ({len(self.committed())} of {self.chunks} chunks): "
                "complete it with `nvgctl tokenize ... --resume`"
            )

    def require_tokenizer(self, fingerprint: str) -> None:
        """StoreError unless the tokens were made by the tokenizer with this fingerprint."""
        own = self.manifest.tokenizer
        if own != fingerprint:
            raise StoreError(
                f"{self.path} was made by tokenizer {own[:12]}, not {fingerprint[:12]}: "
                "use that tokenizer, or tokenize into another store"
            )

    def ok_rows(self, split: Split | None = Split.TRAIN) -> np.ndarray[Any, Any]:
        """Rows of a split, of both for None, whose image could be tokenized, int64, ascending."""
        found = [np.empty(0, np.int64)]
        for part in self.index_tables():
            good = has_status(part, OK)
            if split is not None:
                good &= in_split(part, split)
            found.append(numbers(part, "row")[good])
        return np.concatenate(found)

    def row_counts(self, split: Split) -> tuple[Numbers, Numbers]:
        """(rows of a split, those of them with tokens) of each chunk of a finished store."""
        own, valid = np.zeros((2, self.chunks), np.int64)
        for part in self.index_tables():
            chunks = np.searchsorted(self.chunk_starts, numbers(part, "row"), side="right") - 1
            is_own = in_split(part, split)
            own += np.bincount(chunks[is_own], minlength=self.chunks)
            valid += np.bincount(chunks[is_own & has_status(part, OK)], minlength=self.chunks)
        return own, valid

    def is_valid(self, chunk: int, split: Split) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows of a chunk are of a split and have tokens."""
        part = self.index_part(chunk)
        return in_split(part, split) & has_status(part, OK)

    def row_tokens(self, rows: Sequence[int]) -> tuple[Tokens, Tokens]:
        """Leaves [R, X, N] and content [R, X, T] of rows, int64; StoreError if they cannot be."""
        once, place = np.unique(np.array(rows), return_inverse=True)  # a chunk is read once
        with self.shown(f"row {rows[0]} or one shown with it"):
            leaves, content = (
                self.stored_rows(name, once)[place].astype(np.int64)
                for name in ("leaves", "content")
            )
        fault = token_fault(leaves, content, self.manifest)
        if fault:
            raise StoreError(f"{self.path}: row {rows[0]} or one shown with it: {fault}; {VERIFY}")
        return leaves, content

    @contextmanager
    def shown(self, what: str) -> Iterator[None]:
        """While reading what is shown; StoreError, naming it, where it is damaged."""
        try:
            with reading(self.path):
                yield
        except DamageError as error:
            raise StoreError(f"{self.path}: {what} cannot be read ({error}); {VERIFY}") from error

    def index_tables(self) -> Iterator[pa.Table]:
        """The index in parts, one after another."""
        yield self.index

    def records_digest(self) -> str:
        """SHA-256 of the commit records of a finished store, one after another."""
        state = hashlib.sha256()
        for chunk in range(self.chunks):
            state.update(self.read(record_name(chunk)))
        return state.hexdigest()

    def index_part(self, chunk: int) -> pa.Table:
        """The index rows of one committed chunk."""
        if not self.finished:
            return self._table(part_name(chunk))
        rows = self.chunk_slice(chunk)
        return self.index.slice(rows.start, rows.stop - rows.start)

    def chunk_faults(self, chunk: int) -> list[str]:
        """What is wrong with one committed chunk and its index rows, a line each.

        DamageError when it cannot be decoded; WorkError when storage fails.
        """
        with reading(self.path):
            record, part = self.commit_record(chunk), self.index_part(chunk)
            rows = self.chunk_slice(chunk)
            return chunk_faults(self.read_chunk(chunk), record, part, rows, self.manifest)

    def verify(self, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> list[str]:
        """Re-read everything; one line per fault, none when the store is intact.

        An unfinished store is a fault, and so is what storage fails to read just now; everything
        else is still checked.
        """
        committed = self.committed()
        faults = self._file_faults()
        if not self.finished:
            faults.insert(0, f"unfinished: {len(committed)} of {self.chunks} chunks are committed")
        else:
            faults += missing_chunks(self.chunks, committed)
            try:
                with reading(self.path):
                    faults += index_faults(self.index_tables(), self.manifest)
            except DamageError as error:
                return [*faults, str(error).removeprefix(f"{self.path}: ")]
            except WorkError as error:
                return [*faults, f"{INDEX_DAMAGED}: {error}"]
        for chunk in progress(committed):
            try:
                faults += [f"chunk {chunk}: {fault}" for fault in self.chunk_faults(chunk)]
            except (StoreError, WorkError) as error:
                faults.append(f"chunk {chunk}: cannot be read: {error}")
        return faults

    def is_intact(self, name: str) -> bool:
        """Whether a file that the manifest has a checksum of is there and matches it."""
        try:
            with reading(self.path):
                found = hashlib.sha256(self.read(name)).hexdigest()
        except DamageError:
            return False
        return found == self.manifest.checksums[name]

    def _file_faults(self) -> list[str]:
        faults = [LOST_SUMS] if self._has_lost_sums() else []
        for name in sorted(self.manifest.checksums):
            try:
                if self.is_intact(name):
                    if name in self.manifest.weights and (fault := weights_fault(self.read(name))):
                        faults.append(f"{name} {fault}")
                    continue
                is_there = self.fs.exists(f"{self.root}/{name}")
                faults.append(
                    f"{name} {'does not match its checksum' if is_there else 'is missing'}"
                )
            except WorkError as error:
                faults.append(f"{name} cannot be read: {error}")
        return faults

    def _has_lost_sums(self) -> bool:
        """Whether a version that writes checksums of the manifest made this store without them."""
        committed = self.committed()
        if self.manifest.sha256 is not None or not self.finished or not committed:
            return False
        try:
            with reading(self.path):
                return INDEX in self.commit_record(committed[0]).sha256
        except (StoreError, WorkError):  # said of the chunk
            return False

    def _table(self, name: str, count: int | None = None) -> pa.Table:
        """An index file, of rows 0..count-1 where that is given; DamageError for another."""
        with reading(self.path):
            table = read_parquet(self.read(name), len(self))
            require_index(table, self.manifest, name, None if count is None else range(count))
            return with_split(table)


def store_exists(path: str) -> bool:
    """Whether something that calls itself a store is at `path`."""
    fs, root = storage(str(path).rstrip("/"))
    return is_there(fs, f"{root}/manifest.json")
