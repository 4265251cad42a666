"""Chosen rows: those that a walk over the index chooses, as a store of their own."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.compose.merge import merge_stores
from nvg.compose.subset import RowFilter, chosen_rows, stage_error, subset_store
from nvg.errors import InputError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import Split, Store, open_store
from tests.nvg.compose.makers import ANIMALS, memory, two_stores
from tests.nvg.store.makers import (
    empty_store,
    index_table,
    random_arrays,
    write_rows,
)

ROWS = 12
OLD_STORE = Path(__file__).parents[2] / "golden" / "v0.1" / "tokens.vgs"


@pytest.fixture(scope="module")
def store() -> Store:
    """Rows in two folders, with a residual of their own; one error row, three held out."""
    made = empty_store(f"{memory()}/a.vgs", ROWS, val_rows=3)
    arrays = random_arrays(made, bad=(4,))
    table = index_table(made, arrays, bad=(4,), val=(9, 10, 11))
    errors = [None if n == 4 else [n / 10 + s for s in range(5)] for n in range(ROWS)]
    keys = [f"{'birds' if n % 3 else 'fish'}/image-{n}" for n in range(ROWS)]
    for name, column in (
        ("stage_error", pa.array(errors, pa.list_(pa.float32()))),
        ("key", pa.array(keys)),
    ):
        table = table.set_column(table.column_names.index(name), name, column)
    for chunk in range(made.chunks):
        write_rows(made, chunk, arrays, table)
    made.finish()
    return open_store(made.path)


def fits(entry: dict[str, Any], wanted: RowFilter) -> bool:
    """The filter, word by word."""
    if wanted.classes and entry["class"] not in wanted.classes:
        return False
    if wanted.split and entry["split"] != wanted.split:
        return False
    if wanted.key == "birds/*" and not entry["key"].startswith("birds/"):
        return False
    error = (
        entry["stage_error"] and entry["stage_error"][-1 if wanted.stage is None else wanted.stage]
    )
    if wanted.error_below is not None and not (error is not None and error < wanted.error_below):
        return False
    return wanted.error_above is None or (error is not None and error > wanted.error_above)


@settings(deadline=None, max_examples=25)
@given(
    wanted=st.builds(
        RowFilter,
        classes=st.sampled_from([(), ANIMALS[:1], ANIMALS[1:]]),
        split=st.sampled_from([None, *Split]),
        key=st.sampled_from([None, "birds/*"]),
        error_below=st.sampled_from([None, 0.95, 4.55, 9.0]),
        error_above=st.sampled_from([None, 0.25, 4.25]),
    ),
    stage=st.sampled_from([None, 0]),
)
def test_the_rows_are_those_of_a_walk(store: Store, wanted: RowFilter, stage: int | None) -> None:
    """All conditions at once, in the order of the store."""
    if wanted.asks_error:
        wanted = RowFilter(**{**vars(wanted), "stage": stage})
    if wanted == RowFilter():
        return
    entries = store.index.to_pylist()
    expected = [n for n, entry in enumerate(entries) if fits(entry, wanted)]
    assert chosen_rows(store, wanted).tolist() == expected


@pytest.mark.thorough
@settings(deadline=None, max_examples=8)
@given(shown=st.sets(st.integers(0, 16), min_size=1), is_merged=st.booleans())
def test_a_subset_holds_its_rows_and_no_other(
    shown: set[int], is_merged: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By a list of keys, out of a plain store or a merged one; exactly once in an epoch."""
    home, file = memory(), tmp_path_factory.mktemp("keys") / "keys.txt"
    one, other = two_stores(home)
    whole = one
    if is_merged:
        merge_stores([one.path, other.path], f"{home}/c.vgs")
        whole = open_store(f"{home}/c.vgs")
    rows = sorted(row for row in shown if row < len(whole)) or [0]
    listed = [whole.index["key"][row].as_py() for row in rows]
    file.write_text("\n".join(reversed(listed)) + "\n\n")
    subset_store(whole.path, f"{home}/d.vgs", RowFilter(keys=file))
    found = open_store(f"{home}/d.vgs")
    assert found.index["key"].to_pylist() == listed
    assert found.manifest.classes == whole.manifest.classes
    for name in whole.arrays:
        assert np.array_equal(found.group[name][:], whole.group[name][:][rows])
    assert found.verify() == []
    if found.ok_rows().size:
        for mode in (LoaderMode.MEMORY, LoaderMode.STREAM):
            loader = SequenceLoader(found, 2, drop_last=False, mode=mode, window=2)
            seen = [row for batch in loader if batch.row is not None for row in batch.row.tolist()]
            assert sorted(seen) == found.ok_rows().tolist()


def test_residuals_are_those_of_the_index(store: Store) -> None:
    """One number a row; none for an error row."""
    for stage in (None, 0, 3):
        found = stage_error(store.index, store, stage)
        wanted = [
            e["stage_error"][4 if stage is None else stage] if e["stage_error"] else np.nan
            for e in store.index.to_pylist()
        ]
        np.testing.assert_array_equal(found, np.array(wanted, np.float32))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (RowFilter(), "nothing is asked for"),
        (RowFilter(stage=1), "--stage needs --error-below or --error-above"),
        (RowFilter(stage=1, split=Split.VAL), "--stage needs"),
        (RowFilter(stage=5, error_below=1.0), r"there is no stage 5: .* has 0..4"),
        (RowFilter(classes=("dog",)), "has no class 'dog': it has "),
        (RowFilter(key="x*"), "has no row that meets all of this"),
        (RowFilter(keys=Path("/none/keys")), "cannot read the keys in /none/keys: No such file"),
    ],
)
def test_what_cannot_be_chosen_is_one_line(store: Store, wanted: RowFilter, said: str) -> None:
    """Nothing is written."""
    with pytest.raises(InputError, match=said):
        subset_store(store.path, f"{memory()}/c.vgs", wanted)


def test_stores_of_the_first_version_can_be_linked(tmp_path: Path) -> None:
    """Without checksums of manifest and index rows, and without splits."""
    old = open_store(str(OLD_STORE))
    listed = old.index["key"].to_pylist()[1::2]
    (tmp_path / "keys").write_text("\n".join(listed))
    shutil.copytree(OLD_STORE, tmp_path / "old.vgs")
    subset_store(
        str(tmp_path / "old.vgs"), str(tmp_path / "c.vgs"), RowFilter(keys=tmp_path / "keys")
    )
    found = open_store(str(tmp_path / "c.vgs"))
    assert found.verify() == []
    assert np.array_equal(found.content[:], old.content[1::2])
    assert next(iter(SequenceLoader(found, 2))).leaves.shape == (2, old.geometry.positions)


def test_a_list_of_keys_may_be_from_another_system(store: Store, tmp_path: Path) -> None:
    """With a byte order mark, and two characters at the end of a line."""
    keys = store.index["key"].to_pylist()[2:4]
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbf" + "".join(f"{k}\r\n" for k in keys).encode())
    assert chosen_rows(store, RowFilter(keys=tmp_path / "keys")).tolist() == [2, 3]


def test_a_key_of_no_row_is_named(store: Store, tmp_path: Path) -> None:
    """Rather than left out in silence."""
    (tmp_path / "keys").write_text("birds/image-1\nbirds/image-99\n")
    with pytest.raises(InputError, match=r"1 keys of .* such as 'birds/image-99'"):
        chosen_rows(store, RowFilter(keys=tmp_path / "keys"))
