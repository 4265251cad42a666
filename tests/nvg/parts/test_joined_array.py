"""Arrays of several stores as one, against a joined copy."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.parts.joined_array import JoinedArray, class_ids, renumbered
from nvg.parts.part import Part
from nvg.parts.row_map import RowMap

SUM = "0" * 64


@settings(deadline=None, max_examples=30)
@given(data=st.data(), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_it_reads_as_a_copy_does(data: st.DataObject, sizes: list[int]) -> None:
    """Slices, single rows, rows in any order, and an index of the other axis."""
    rows: list[int] = []
    arrays, wanted, parts = [], [], []
    for number, size in enumerate(sizes):
        array = zarr.zeros((size, 3), chunks=(2, 3), dtype="u2")
        array[:] = np.arange(size * 3).reshape(size, 3) + 100 * number
        chosen = sorted(data.draw(st.sets(st.integers(0, size - 1))))
        parts.append(
            Part(path="a", sha256=SUM, commits=SUM, rows=(len(rows), len(rows) + len(chosen)))
        )
        rows += chosen
        wanted += [array[row] for row in chosen]
        arrays.append(array)
    copy = np.array(wanted, np.uint16).reshape(-1, 3)
    joined = JoinedArray(RowMap(parts, np.array(rows, np.int64), sizes, [2] * len(sizes)), arrays)
    assert (joined.shape, joined.dtype) == (copy.shape, copy.dtype)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(copy))] * 2)))
    assert np.array_equal(joined[start:stop], copy[start:stop])
    assert np.array_equal(joined[:, 1], copy[:, 1])
    if len(copy):
        places = range(len(copy))
        some = data.draw(st.permutations(places) | st.lists(st.sampled_from(places)))
        assert np.array_equal(joined.oindex[some], copy[some])
        assert np.array_equal(joined.oindex[some, 1], copy[some, 1])
        assert np.array_equal(joined[start % len(copy)], copy[start % len(copy)])
        assert joined[0, 2] == copy[0, 2]
    with pytest.raises(IndexError, match="out of range"):
        joined.oindex[[len(copy)]]


def test_labels_are_renumbered_by_name() -> None:
    """None stays none; the same classes need nothing."""
    ids = class_ids(["bee", "ant"], ["ant", "cat", "bee"])
    assert renumbered(np.array([0, 1, -1], np.int32), ids).tolist() == [2, 0, -1]
    assert class_ids(["ant"], ["ant"]) is None
    assert renumbered(np.array([7]), None).tolist() == [7]


@pytest.mark.parametrize(
    ("own", "joined", "said"),
    [
        (["ant", "ant"], ["ant"], "two classes have one name"),
        (["ant"], ["bee", "bee"], "two classes have one name"),
        (["ant"], ["bee"], "class 'ant' of a part is none"),
    ],
)
def test_classes_that_cannot_be_joined_are_refused(
    own: list[str], joined: list[str], said: str
) -> None:
    """A name that is not there, or stands twice."""
    with pytest.raises(ValueError, match=said):
        class_ids(own, joined)


@pytest.mark.parametrize("label", [-2, 2])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    """Rather than taken for another class."""
    with pytest.raises(ValueError, match="a label is none of the 2 classes"):
        renumbered(np.array([label]), class_ids(["b", "a"], ["a", "b"]))
