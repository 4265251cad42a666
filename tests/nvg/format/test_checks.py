"""Verification: silent about an intact store, and a line for every kind of damage."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.format.base import Arrays
from nvg.format.checks import is_canonical
from nvg.geometry import canonical
from nvg.store import Store, open_store, open_writer
from tests.nvg.store.makers import (
    change_manifest,
    empty_plain_store,
    index_table,
    make_plain_store,
    random_arrays,
    rewrite_index,
    write_rows,
)

BAD = (3, 7)
Change = Callable[[Arrays], None]


def store_with(path: Path, change: Change) -> Store:
    """A store whose chunks were written, checksums and all, from changed arrays."""
    store = empty_plain_store(path / "changed.vgs", 10, 2)
    arrays = random_arrays(store, bad=BAD)
    index = index_table(store, arrays, BAD)
    change(arrays)
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index)
    store.finish()
    return open_store(store.path)


def faults_of(store: Store) -> list[str]:
    """The faults of a store opened afresh."""
    return open_store(store.path).verify()


@pytest.mark.parametrize("sizes", [{}, {"grid": 2}, {"grid": 32}, {"chunk_rows": 1}])
def test_an_intact_store_has_no_faults(tmp_path: Path, sizes: dict[str, Any]) -> None:
    """Nothing to say, whatever the geometry, and with error rows in it."""
    assert make_plain_store(tmp_path / "a.vgs", 5, 2, bad=(0, 4), **sizes).verify() == []


def test_a_store_of_errors_only_is_intact(tmp_path: Path) -> None:
    """Not one image could be read; that is no damage."""
    assert make_plain_store(tmp_path / "a.vgs", 5, bad=range(5)).verify() == []


def test_progress_sees_every_chunk(store: Store) -> None:
    """The hook is given the chunks to come."""
    seen: list[int] = []

    def progress(chunks: list[int]) -> list[int]:
        seen.extend(chunks)
        return chunks

    assert store.verify(progress) == []  # type: ignore[arg-type]
    assert seen == [0, 1, 2]


CHUNK_FILES = [
    f"{name}/c/{chunk}{tail}"
    for name, tail in (("leaves", "/0/0"), ("content", "/0/0"), ("label", ""))
    for chunk in range(3)
]


@pytest.fixture(scope="module")
def memory() -> Store:
    """An intact store in memory, quick to damage and to repair."""
    return make_plain_store(f"memory://{uuid.uuid4()}/a.vgs", 10, 2, bad=BAD)


@pytest.mark.thorough
@settings(deadline=None, max_examples=80)
@given(data=st.data(), name=st.sampled_from(CHUNK_FILES))
def test_any_flipped_bit_is_noticed(memory: Store, data: st.DataObject, name: str) -> None:
    """One bit changed anywhere in a chunk's file gives one fault, which names the chunk."""
    intact = memory.read(name)
    bit = data.draw(st.integers(0, 8 * len(intact) - 1))
    damaged = bytearray(intact)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        memory.fs.pipe_file(f"{memory.root}/{name}", bytes(damaged))
        faults = faults_of(memory)
    finally:
        memory.fs.pipe_file(f"{memory.root}/{name}", intact)
    chunk = name.split("/")[2]
    assert [fault.startswith(f"chunk {chunk}: ") for fault in faults] == [True]


@pytest.mark.parametrize("name", ["leaves", "content", "label"])
def test_a_lost_chunk_file_is_noticed(store: Store, name: str) -> None:
    """A file that is gone reads as zeros, which do not match the checksum."""
    tail = "" if name == "label" else "/0/0"
    file = Path(f"{store.path}/{name}/c/1{tail}")
    file.unlink()
    assert f"chunk 1: {name} does not match its checksum" in faults_of(store)


@pytest.mark.parametrize("name", ["leaves", "content", "label"])
def test_other_values_do_not_match_the_checksum(store: Store, name: str) -> None:
    """Rows overwritten with valid rows of another image are noticed too."""
    array = open_writer(store.path).group[name]
    array[4:8] = random_arrays(store, seed=77)[name][4:8]
    assert f"chunk 1: {name} does not match its checksum" in faults_of(store)


def repeat_leaf(arrays: Arrays) -> None:
    """Position 5 of row 5 takes position 6's leaf."""
    arrays["leaves"][5, 1, 5] = arrays["leaves"][5, 1, 6]


def swap_halves(arrays: Arrays) -> None:
    """Row 5 keeps a permutation, but the first position is on the 1 side of every split."""
    arrays["leaves"][5] = 15 - arrays["leaves"][5]


def swap_root(arrays: Arrays) -> None:
    """Row 5 has the children of its root swapped."""
    arrays["leaves"][5] = arrays["leaves"][5] ^ 8


def swap_pair(arrays: Arrays) -> None:
    """Row 5 keeps leaf 0 at position 0, but the last two leaves have changed places."""
    leaves = arrays["leaves"][5]
    arrays["leaves"][5] = np.where(leaves >= 14, 29 - leaves, leaves)


def token_too_large(arrays: Arrays) -> None:
    """One token of row 5 is the first that the codebook lacks."""
    arrays["content"][5, 0, 30] = 16


def leaf_in_error_row(arrays: Arrays) -> None:
    """Row 7 is an error row and holds a leaf."""
    arrays["leaves"][7, 1, 2] = 1


def token_in_error_row(arrays: Arrays) -> None:
    """Row 7 is an error row and holds a token."""
    arrays["content"][7, 0, 0] = 1


def other_label(arrays: Arrays) -> None:
    """Row 5 has another class than the index says."""
    arrays["label"][5] = (arrays["label"][5] + 1) % 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (repeat_leaf, "leaves are not a permutation"),
        (swap_halves, "leaves are not in canonical child order"),
        (swap_pair, "leaves are not in canonical child order"),
        (token_too_large, "token 16 is outside the codebook"),
        (leaf_in_error_row, "an error row holds tokens"),
        (token_in_error_row, "an error row holds tokens"),
        (other_label, "label differs from the index"),
    ],
)
def test_values_that_cannot_be_are_named(tmp_path: Path, change: Change, words: str) -> None:
    """Written with a right checksum, wrong values are the one fault, in the right chunk."""
    (fault,) = store_with(tmp_path, change).verify()
    assert fault.startswith(f"chunk 1: {words}")


def test_order_of_merging_is_no_fault(tmp_path: Path) -> None:
    """The order of position is demanded of its pairs of leaves only; all else as of any store."""
    for change, faults in (
        (swap_root, []),
        (swap_pair, ["chunk 1: leaves are not in canonical child order"]),
        (repeat_leaf, ["chunk 1: leaves are not a permutation of the positions"]),
    ):
        store = store_with(tmp_path / change.__name__, change)
        change_manifest(store, child_order="merging")
        assert faults_of(store) == faults


WEIGHTS = ["detokenizer.safetensors", "tokenizer.safetensors"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_missing_weights_are_named(store: Store, name: str) -> None:
    """Without its weights the tokens of a store cannot be used: the one fault names the file."""
    Path(store.path, name).unlink()
    assert faults_of(store) == [f"{name} is missing"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_damaged_weights_are_named(store: Store, name: str, damage: str) -> None:
    """One bit changed, or an end cut off, is the one fault, which names the file."""
    file = Path(store.path, name)
    data = file.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    file.write_bytes({"flip": flipped, "truncate": data[:-4], "empty": b""}[damage])
    assert faults_of(store) == [f"{name} does not match its checksum"]


def test_a_missing_commit_record_is_named(store: Store) -> None:
    """A finished store without one of its records has a fault with the chunk's number."""
    Path(store.path, "commits", "00001.json").unlink()
    assert "chunks without a commit record: [1]" in faults_of(store)


def test_a_damaged_commit_record_is_named(store: Store) -> None:
    """A record that is no JSON is a fault of its chunk."""
    Path(store.path, "commits", "00001.json").write_text("{")
    (fault,) = faults_of(store)
    assert fault.startswith("chunk 1: ")


@pytest.mark.parametrize("damage", ["delete", "truncate", "text"])
def test_a_lost_or_damaged_index_is_named(store: Store, damage: str) -> None:
    """Whatever befell index.parquet, the fault is one line about the index."""
    file = Path(store.path, "index.parquet")
    data = file.read_bytes()
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(data[: len(data) // 2] if damage == "truncate" else b"not parquet")
    (fault,) = faults_of(store)
    assert fault.startswith("index cannot be read")
    assert len(fault.splitlines()) == 1


def test_an_index_with_too_few_rows_is_named(store: Store) -> None:
    """Rows missing from the index are a fault of it; it is not read any further."""
    rewrite_index(store, store.index.slice(0, 9))
    (fault,) = faults_of(store)
    assert "index.parquet: index has 9 rows, not rows 0..9 in order" in fault


def test_an_index_out_of_order_is_named(store: Store) -> None:
    """The index has the rows of the arrays, in their order."""
    rewrite_index(store, store.index.take([1, 0, *range(2, 10)]))
    assert any("index has 10 rows, not rows 0..9" in fault for fault in faults_of(store))


def test_an_unknown_status_is_named(store: Store) -> None:
    """A row is ok or error."""
    status = pc.replace_substring(store.index["status"], "ok", "fine")
    rewrite_index(store, store.index.set_column(6, "status", status))
    assert any("unknown status" in fault and "fine" in fault for fault in faults_of(store))


def test_another_error_count_is_named(store: Store) -> None:
    """The manifest's count of error rows is the index's."""
    change_manifest(store, errors=5)
    assert faults_of(store) == ["index has 2 error rows, the manifest 5"]


def test_a_store_without_zarr_metadata_is_no_crash(store: Store) -> None:
    """The arrays cannot be found: faults, one line each."""
    Path(store.path, "zarr.json").unlink()
    faults = faults_of(store)
    assert faults
    assert all("zarr.json" in fault and len(fault.splitlines()) == 1 for fault in faults)


def test_an_unfinished_store_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    """Unfinished is a fault of its own; the committed chunks are read all the same."""
    store = empty_plain_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    index = index_table(store, arrays)
    arrays["content"][1, 0, 0] = 16
    write_rows(store, 0, arrays, index)
    assert faults_of(store) == [
        "unfinished: 1 of 3 chunks are committed",
        "chunk 0: token 16 is outside the codebook",
    ]


@given(leaves=st.permutations(range(8)))
def test_canonical_is_what_reordering_leaves_alone(leaves: list[int]) -> None:
    """The predicate on arrays agrees with `nvg.geometry.canonical`."""
    leaves_RXN = np.array(leaves, np.uint8).reshape(1, 1, 8)
    ordered = canonical(torch.from_numpy(leaves_RXN)).numpy()
    assert is_canonical(ordered)
    assert is_canonical(leaves_RXN) == np.array_equal(ordered, leaves_RXN)
