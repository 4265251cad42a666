"""Chosen rows of a store as a store of their own: `nvgctl subset`.

Legend: R row of the store.
"""

import math
import re
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nvg.compose.pieces import pieces_of, place_notes, write_linked
from nvg.errors import InputError
from nvg.format.index import in_split, numbers
from nvg.parts.row_map import Rows
from nvg.store import Split, Store
from nvg.store.linked import open_store

MOST_NAMED = 10  # classes in a message

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """Which rows are chosen: those that meet all that is asked."""

    classes: tuple[str, ...] = ()
    """Of one of these classes."""
    split: Split | None = None
    key: str | None = None
    """A pattern of their keys, with * and ?; * also stands for /."""
    keys: Path | None = None
    """A file of their keys, a line each."""
    stage: int | None = None
    """Whose error is asked for, the last by default."""
    error_below: float | None = None
    error_above: float | None = None

    @property
    def asks_error(self) -> bool:
        """Whether rows are chosen by their error, which error rows do not have."""
        return self.error_below is not None or self.error_above is not None


def subset_store(path: str, out: str, wanted: RowFilter) -> list[str]:
    """Write the linked store of the chosen rows, in the order of the store; lines to print.

    Classes and their ids stay. InputError where nothing is asked, or no row is chosen.
    """
    store = open_store(path)
    store.require_finished()
    rows = chosen_rows(store, wanted)
    if not len(rows):
        raise InputError(f"{path} has no row that meets all of this: ask for less")
    pieces = pieces_of(store, rows)
    write_linked(out, pieces, store.manifest.classes)
    line = f"wrote {out}: {len(rows)} of the {len(store)} rows of {path}, no array copied"
    return [line, *place_notes(pieces, out)]


def chosen_rows(store: Store, wanted: RowFilter) -> Rows:
    """The rows that meet the filter, ascending. InputError for a class or a key that is unknown."""
    if wanted.stage is not None and not wanted.asks_error:
        raise InputError("--stage needs --error-below or --error-above: add one")
    for name in ("error_below", "error_above"):
        bound = getattr(wanted, name)
        if bound is not None and not math.isfinite(bound):
            raise InputError(f"--{name.replace('_', '-')} must be a finite number, not {bound}")
    if wanted == RowFilter():
        raise InputError("nothing is asked for: say which rows, for example --class or --split")
    ids = _ids_of(store, wanted.classes)
    matches = re.compile(translate(wanted.key)).match if wanted.key is not None else None
    listed = None if wanted.keys is None else _lines_of(wanted.keys)
    unseen, parts = set(listed or ()), []
    for table in store.index_tables():
        is_chosen = np.ones(len(table), bool)
        if wanted.classes:
            is_chosen &= np.isin(numbers(table, "label"), ids)
        if wanted.split is not None:
            is_chosen &= in_split(table, wanted.split)
        if matches or listed is not None:
            keys = table["key"].to_pylist()
        if matches:
            is_chosen &= np.fromiter((matches(key) is not None for key in keys), bool, len(keys))
        if listed is not None:
            is_chosen &= np.fromiter((key in listed for key in keys), bool, len(keys))
            unseen.difference_update(keys)
        if wanted.asks_error:
            is_chosen &= _has_error(table, store, wanted)
        parts.append(is_chosen)
    if unseen:
        raise InputError(
            f"{len(unseen)} keys of {wanted.keys} are not in {store.path}, such as {min(unseen)!r}"
        )
    return np.flatnonzero(np.concatenate([np.empty(0, bool), *parts]))


def _has_error(table: pa.Table, store: Store, wanted: RowFilter) -> Mask:
    """The rows whose error is between the bounds."""
    error_R = stage_error(table, store, wanted.stage)
    is_chosen = np.ones(len(table), bool)
    if wanted.error_below is not None:
        is_chosen &= error_R < wanted.error_below
    if wanted.error_above is not None:
        is_chosen &= error_R > wanted.error_above
    return is_chosen


def stage_error(
    table: pa.Table, store: Store, stage: int | None
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The mean squared latent residual of each row [R] of a part of the index after a stage, or
    all; NaN without one."""
    stages = store.geometry.stages
    if stage is not None and not 0 <= stage < stages:
        raise InputError(f"there is no stage {stage}: {store.path} has 0..{stages - 1}")
    found = np.full(len(table), np.nan, np.float32)
    first = 0
    for part in table["stage_error"].chunks:
        is_valid = np.from_dlpack(part.is_valid().cast(pa.uint8())).astype(bool)
        values = np.from_dlpack(part.drop_null().flatten()).reshape(-1, stages)
        found[first : first + len(part)][is_valid] = values[
            :, stages - 1 if stage is None else stage
        ]
        first += len(part)
    return found


def _ids_of(store: Store, names: tuple[str, ...]) -> list[int]:
    classes = store.manifest.classes
    if lost := [name for name in names if name not in classes]:
        known = ", ".join(classes[:MOST_NAMED]) + ", ..." * (len(classes) > MOST_NAMED)
        raise InputError(f"{store.path} has no class {lost[0]!r}: it has {known or 'none'}")
    return [number for number, name in enumerate(classes) if name in names]


def _lines_of(file: Path) -> set[str]:
    """The keys that are lines of a file."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"cannot read the keys in {file}: {reason}") from None
    return {line.strip() for line in lines if line.strip()}
