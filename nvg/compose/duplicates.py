"""Rows with equal tokens and structure at the first stages: near-duplicates, at the cost of a read.

Legend: R row of the store, N position, T token, S stage.

Every row becomes a 64-bit hash for each stage, of all that it has up to there, written to a
temporary file of 8 bytes a row and stage. A stage is joined in buckets of hashes, which fit into
memory however many rows there are. Rows that agree at the last stage are read again and compared by
a 128-bit digest of the tokens themselves.
"""

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.format.damage import DamageError, reading
from nvg.geometry import Geometry
from nvg.progress import progress
from nvg.store import Store
from nvg.store.store import REPAIR

Array = np.ndarray[Any, Any]
Hashes = np.ndarray[Any, np.dtype[np.uint64]]
BUCKET = 1 << 22  # rows that are joined at once, on average
BLOCK = 4096  # rows that are hashed at once
KEYS_SEED = 0x4E5647  # of the numbers that tokens are multiplied with


@dataclass(frozen=True)
class StageCount:
    """Of the tokenized rows, those that another equals at stages 0..stage."""

    stage: int
    groups: int
    rows: int


@dataclass(frozen=True)
class Duplicates:
    """What equals what in the first view of the tokenized rows of a store."""

    rows: int
    """Tokenized rows that were compared."""
    counts: list[StageCount]
    """By stage; of all but the last by hash alone."""
    groups: list[list[int]]
    """Rows that are equal up to the last of these stages, ascending; the largest group first."""


def find_duplicates(store: Store, last: int | None = None, bucket: int = BUCKET) -> Duplicates:
    """Group the rows of a finished store by tokens and structure at stages 0..last, or at all.

    InputError for a stage that there is not, StoreError for a damaged chunk.
    """
    store.require_finished()
    geometry = store.geometry
    last = geometry.K if last is None else last
    if not 0 <= last <= geometry.K:
        raise InputError(f"there is no stage {last}: {store.path} has 0..{geometry.K}")
    good = store.ok_rows(None)
    with tempfile.TemporaryDirectory(prefix="nvg-duplicates-") as folder:
        hashes_SR: Hashes = np.memmap(
            Path(folder, "hashes"), np.uint64, "w+", shape=(last + 1, max(len(good), 1))
        )[:, : len(good)]
        at = 0
        for _, leaves_RN, content_RT in _tokens(store, good, "hash"):
            for first in range(0, len(leaves_RN), BLOCK):
                part = slice(first, first + BLOCK)
                found = stage_hashes(leaves_RN[part], content_RT[part], geometry, last)
                hashes_SR[:, at : at + found.shape[1]] = found
                at += found.shape[1]
        counts = [
            StageCount(stage, *_counted(hashes_SR[stage], bucket)) for stage in range(last + 1)
        ]
        alike = [good[rows] for rows in _equal(hashes_SR[last], bucket)]
    groups = _confirmed(store, alike, last)
    counts[last] = StageCount(last, len(groups), sum(map(len, groups)))
    return Duplicates(len(good), counts, groups)


def stage_hashes(leaves_RN: Array, content_RT: Array, geometry: Geometry, last: int) -> Hashes:
    """A hash of the tokens and the structure map of each row up to each stage, [S, R]."""
    numbers = np.random.default_rng(KEYS_SEED).integers(
        1, 2**64, geometry.tokens + geometry.positions, np.uint64, endpoint=False
    )
    ends = [geometry.stage_slice(stage).stop for stage in range(last + 1)]
    starts = [0, *ends[:-1]]
    product_RT = content_RT[:, : ends[-1]].astype(np.uint64) * numbers[: ends[-1]]
    tokens_SR = np.cumsum(np.add.reduceat(product_RT, starts, axis=1), axis=1).T
    places = numbers[geometry.tokens :]
    found = np.empty_like(tokens_SR)
    for stage in range(last + 1):
        map_RN = (leaves_RN >> (geometry.K - stage)).astype(np.uint64)
        found[stage] = _mixed(tokens_SR[stage] + (map_RN * places).sum(1, dtype=np.uint64))
    return found


def _mixed(values: Hashes) -> Hashes:
    """SplitMix64's finalizer, so that the high bits tell as much as the low ones."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _tokens(store: Store, good: Array, word: str) -> Iterator[tuple[Array, Array, Array]]:
    """The rows, ascending, that are in `good`, with their leaves and content, chunk by chunk."""
    chunks = np.unique(np.searchsorted(store.chunk_starts, good, side="right") - 1)
    for chunk in progress(chunks.tolist(), desc=word, unit="chunk", leave=False, delay=2):
        rows = store.chunk_slice(chunk)
        try:
            with reading(store.path):
                found = store.intact_chunk(chunk, ("leaves", "content"))
        except DamageError as error:
            raise StoreError(
                f"{store.path}: chunk {chunk} is damaged ({error}): {REPAIR}"
            ) from error
        own = good[np.searchsorted(good, rows.start) : np.searchsorted(good, rows.stop)]
        yield own, found["leaves"][own - rows.start, 0], found["content"][own - rows.start, 0]


def _buckets(hashes_R: Hashes, bucket: int) -> Iterator[tuple[Array, Hashes]]:
    """The hashes by equal parts of their range, each with its places; all equal ones in one."""
    count = -(-len(hashes_R) // bucket)
    for number in range(count):
        places, values = [], []
        for first in range(0, len(hashes_R), bucket):
            part = np.asarray(hashes_R[first : first + bucket])
            own = ((part >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
            found = np.flatnonzero(own == number)
            places.append(first + found)
            values.append(part[found])
        yield np.concatenate(places), np.concatenate(values)


def _counted(hashes_R: Hashes, bucket: int) -> tuple[int, int]:
    """How many hashes occur more than once, and how often in all."""
    groups = rows = 0
    for _, values in _buckets(hashes_R, bucket):
        counts = np.unique(values, return_counts=True)[1]
        groups += int((counts > 1).sum())
        rows += int(counts[counts > 1].sum())
    return groups, rows


def _equal(hashes_R: Hashes, bucket: int) -> Iterator[Array]:
    """The places of each hash that occurs more than once, ascending."""
    for places, values in _buckets(hashes_R, bucket):
        order = np.argsort(values, kind="stable")
        for run in np.split(places[order], np.flatnonzero(np.diff(values[order])) + 1):
            if len(run) > 1:
                yield run


def _confirmed(store: Store, alike: list[Array], last: int) -> list[list[int]]:
    """Groups of rows whose tokens and structure are equal themselves, not by hash."""
    if not alike:
        return []
    rows = np.sort(np.concatenate(alike))
    upto, shift = store.geometry.stage_slice(last).stop, store.geometry.K - last
    groups: dict[bytes, list[int]] = defaultdict(list)
    for own, leaves_RN, content_RT in _tokens(store, rows, "compare"):
        maps_RN, tokens_RT = leaves_RN >> shift, np.ascontiguousarray(content_RT[:, :upto])
        for row, map_N, tokens_T in zip(own.tolist(), maps_RN, tokens_RT, strict=True):
            state = hashlib.blake2b(map_N.tobytes(), digest_size=16)
            state.update(tokens_T.tobytes())
            groups[state.digest()].append(row)
    return sorted((g for g in groups.values() if len(g) > 1), key=lambda g: (-len(g), g))
