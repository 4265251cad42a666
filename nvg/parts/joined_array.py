"""An array over the rows of several stores, read as Zarr's are.

Legend: R row of the store.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nvg.parts.row_map import RowMap, Rows

Array = np.ndarray[Any, Any]


def class_ids(own: Sequence[str], joined: Sequence[str]) -> Array | None:
    """For each class of a part its id among the joined ones, -1 last, for none; None: the same.

    ValueError for a class that is not among them, or a name that several have.
    """
    if tuple(own) == tuple(joined):
        return None
    ids = {name: number for number, name in enumerate(joined)}
    if len(ids) != len(joined) or len(set(own)) != len(own):
        raise ValueError("two classes have one name, so that none can be told by it")
    if lost := [name for name in own if name not in ids]:
        raise ValueError(f"class {lost[0][:80]!a} of a part is none of its classes")
    return np.array([*(ids[name] for name in own), -1], np.int32)


def renumbered(labels: Array, ids: Array | None) -> Array:
    """Labels [R] of a part as those of the joined classes; ValueError for one that is no class."""
    if ids is None:
        return labels
    if len(labels) and not (labels.min() >= -1 and labels.max() < len(ids) - 1):
        raise ValueError(f"a label is none of the {len(ids) - 1} classes")
    return ids[labels]


class JoinedArray:
    """Reads `array[rows]`, `array[row]`, and `array.oindex[rows, ...]`; `ids` renumber labels."""

    def __init__(
        self, rows: RowMap, arrays: Sequence[Any], ids: Sequence[Array | None] | None = None
    ) -> None:
        self.map, self.arrays, self.ids = rows, arrays, ids
        self.dtype: np.dtype[Any] = arrays[0].dtype
        self.shape = (len(rows), *arrays[0].shape[1:])

    def __getitem__(self, key: Any) -> Array:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, slice):
            found = self._read(np.arange(*rows.indices(len(self.map))), ())
        else:
            found = self._read(np.array([rows]), ())[0]
            return found[tuple(rest)] if rest else found
        return found[(slice(None), *rest)]

    @property
    def oindex(self) -> "_ByRows":
        """Rows in any order, and an index of each other axis."""
        return _ByRows(self)

    def _read(self, rows: Rows, rest: tuple[Any, ...]) -> Array:
        """The given rows [R]; IndexError for one that there is not."""
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self.map)):
            raise IndexError(f"row {rows.max()} is out of range: there are {len(self.map)}")
        theirs, part_R = self.map.rows[rows], self.map.part_of(rows)
        if not len(rows):
            return self.arrays[0].oindex[(np.empty(0, np.int64), *rest)]
        found: Array | None = None
        for part in np.unique(part_R).tolist():
            is_own = part_R == part
            values = _rows_of(self.arrays[part], theirs[is_own], rest)
            if self.ids:
                values = renumbered(values, self.ids[part])
            if found is None:
                found = np.empty((len(rows), *values.shape[1:]), self.dtype)
            found[is_own] = values
        assert found is not None
        return found


class _ByRows:
    def __init__(self, array: JoinedArray) -> None:
        self.array = array

    def __getitem__(self, key: Any) -> Array:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        return self.array._read(np.asarray(rows, np.int64), tuple(rest))


def _rows_of(array: Any, rows: Rows, rest: tuple[Any, ...]) -> Array:
    """Rows of one part: a run of them as a slice, which Zarr reads faster."""
    if int(rows[-1]) - int(rows[0]) == len(rows) - 1 and (np.diff(rows) == 1).all():
        run = slice(int(rows[0]), int(rows[-1]) + 1)
        return array.oindex[(run, *rest)] if rest else array[run]
    return array.oindex[(rows, *rest)]
