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
    is_chosen = np.ones(len(store), bool)
    if wanted.classes:
        is_chosen &= _of_classes(store, wanted.classes)
    if wanted.split is not None:
        is_chosen &= in_split(store.index, wanted.split)
    if wanted.key is not None:
        matches = re.compile(translate(wanted.key)).match
        is_chosen &= _by_key(store, lambda key: matches(key) is not None)
    if wanted.keys is not None:
        is_chosen &= _listed(store, wanted.keys)
    if wanted.asks_error:
        error_R = stage_error(store, wanted.stage)
        if wanted.error_below is not None:
            is_chosen &= error_R < wanted.error_below
        if wanted.error_above is not None:
            is_chosen &= error_R > wanted.error_above
    return np.flatnonzero(is_chosen)


def stage_error(store: Store, stage: int | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The mean squared latent residual of each row [R] after a stage, or all; NaN without one."""
    stages = store.geometry.stages
    if stage is not None and not 0 <= stage < stages:
        raise InputError(f"there is no stage {stage}: {store.path} has 0..{stages - 1}")
    found = np.full(len(store), np.nan, np.float32)
    first = 0
    for part in store.index["stage_error"].chunks:
        is_valid = np.from_dlpack(part.is_valid().cast(pa.uint8())).astype(bool)
        values = np.from_dlpack(part.drop_null().flatten()).reshape(-1, stages)
        found[first : first + len(part)][is_valid] = values[
            :, stages - 1 if stage is None else stage
        ]
        first += len(part)
    return found


def _of_classes(store: Store, names: tuple[str, ...]) -> Mask:
    classes = store.manifest.classes
    if lost := [name for name in names if name not in classes]:
        known = ", ".join(classes[:MOST_NAMED]) + ", ..." * (len(classes) > MOST_NAMED)
        raise InputError(f"{store.path} has no class {lost[0]!r}: it has {known or 'none'}")
    ids = [number for number, name in enumerate(classes) if name in names]
    return np.isin(numbers(store.index, "label"), ids)


def _listed(store: Store, file: Path) -> Mask:
    """The rows whose key is a line of a file; InputError for a key of no row."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"cannot read the keys in {file}: {reason}") from None
    wanted = {line.strip() for line in lines if line.strip()}
    unseen = set(wanted)

    def is_wanted(key: str) -> bool:
        unseen.discard(key)
        return key in wanted

    found = _by_key(store, is_wanted)
    if unseen:
        raise InputError(
            f"{len(unseen)} keys of {file} are not in {store.path}, such as {min(unseen)!r}"
        )
    return found


def _by_key(store: Store, is_wanted: Any) -> Mask:
    """Rows whose key is wanted, a part of the column at a time."""
    parts = store.index["key"].chunks
    found = [np.fromiter(map(is_wanted, part.to_pylist()), bool, len(part)) for part in parts]
    return np.concatenate(found) if found else np.empty(0, bool)
