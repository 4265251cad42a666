"""Merged stores: the same rows, labels and batches as a copy, and clear refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.compose.merge import Overlap, merge_stores
from nvg.format.base import StoreError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import Split, open_store
from tests.nvg.compose.makers import ANIMALS, PLANTS, copied, memory, two_stores
from tests.nvg.store.makers import make_store, random_codec

JOINED = ("ant", "bee", "cat", "oak", "fir")


@pytest.mark.thorough
@settings(deadline=None, max_examples=8)
@given(one=st.integers(1, 11), other=st.integers(1, 8), views=st.integers(1, 2))
def test_a_merged_store_is_that_of_a_copy(one: int, other: int, views: int) -> None:
    """Arrays, index, verdict, and batches of both modes and splits."""
    home = memory()
    stores = two_stores(home, one, other, views=views)
    lines = merge_stores([store.path for store in stores], f"{home}/c.vgs")
    assert lines == [
        f"wrote {home}/c.vgs: {one + other} rows of 2 stores, 5 classes, no array copied"
    ]
    merged = open_store(f"{home}/c.vgs")
    rows = [(store, row) for store in stores for row in range(len(store))]
    copy = copied(f"{home}/d.vgs", rows, JOINED)
    for name in copy.arrays:
        assert np.array_equal(merged.group[name][:], copy.group[name][:])
    assert merged.index.drop_columns("part_row").to_pylist() == copy.index.to_pylist()
    assert merged.verify() == []
    assert [merged.count(split) for split in Split] == [copy.count(split) for split in Split]
    for split in Split if copy.count(Split.VAL) else [Split.TRAIN]:
        loaders = [
            SequenceLoader(s, 2, drop_last=False, mode=LoaderMode.MEMORY, split=split)
            for s in (merged, copy)
        ]
        for found, wanted in zip(*loaders, strict=True):
            for name in ("leaves", "content", "label", "row"):
                assert getattr(found, name).tolist() == getattr(wanted, name).tolist()
    streamed = SequenceLoader(merged, 2, drop_last=False, mode=LoaderMode.STREAM, window=2)
    assert (
        sorted(torch.cat([batch.row for batch in streamed if batch.row is not None]).tolist())
        == merged.ok_rows().tolist()
    )


def test_a_merge_of_merges_names_the_stores_themselves(tmp_path: Path) -> None:
    """Links lead one step."""
    one, other = two_stores(str(tmp_path))
    third = make_store(tmp_path / "e.vgs", 3, key="other")
    merge_stores([one.path, other.path], str(tmp_path / "c.vgs"))
    merge_stores([str(tmp_path / "c.vgs"), third.path], str(tmp_path / "d.vgs"))
    merged = open_store(str(tmp_path / "d.vgs"))
    assert [part.path for part in merged.manifest.parts or ()] == ["a.vgs", "b.vgs", "e.vgs"]
    assert (merged.verify(), len(merged)) == ([], 20)


def test_overlapping_keys_are_refused_left_out_or_kept(tmp_path: Path) -> None:
    """By the word of the user; the first store's row is the one that stays."""
    paths = [make_store(tmp_path / f"{n}.vgs", rows, seed=n).path for n, rows in ((0, 4), (1, 9))]
    with pytest.raises(StoreError, match=r"4 keys .* such as 'image-0' of .*1\.vgs: say --overlap"):
        merge_stores(paths, str(tmp_path / "c.vgs"))
    assert not (tmp_path / "c.vgs").exists()
    said = merge_stores(paths, str(tmp_path / "c.vgs"), Overlap.FIRST)
    assert "4 rows whose key an earlier store has: left out" in said
    first = open_store(str(tmp_path / "c.vgs"))
    assert first.index["key"].to_pylist() == [f"image-{n}" for n in range(9)]
    assert np.array_equal(first.content[:4], open_store(paths[0]).content[:])
    assert np.array_equal(first.content[4:], open_store(paths[1]).content[4:])
    assert first.verify() == []
    said = merge_stores(paths, str(tmp_path / "d.vgs"), Overlap.ALL)
    assert "4 rows whose key an earlier store has: kept" in said
    assert len(open_store(str(tmp_path / "d.vgs"))) == 13


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"grid": 8}, r"grid differs \(4 and 8\)"),
        ({"views": 2}, r"views differs \(center and center, flip\)"),
        ({"codebook_size": 32}, "tokenizer differs"),
    ],
)
def test_stores_that_are_not_alike_are_refused(
    tmp_path: Path, sizes: dict[str, Any], said: str
) -> None:
    """One line that names both and the field."""
    one = make_store(tmp_path / "a.vgs", 4)
    other = make_store(tmp_path / "b.vgs", 4, key="b", **sizes)
    with pytest.raises(StoreError, match=f"b.vgs cannot stand beside .*a.vgs: {said}") as caught:
        merge_stores([one.path, other.path], str(tmp_path / "c.vgs"))
    assert "\n" not in str(caught.value)


def test_one_store_or_a_taken_place_is_refused(tmp_path: Path) -> None:
    """Nothing is written over, not even by itself."""
    one, other = two_stores(str(tmp_path))
    with pytest.raises(StoreError, match="merge needs two stores"):
        merge_stores([one.path], str(tmp_path / "c.vgs"))
    with pytest.raises(StoreError, match="exists: remove it, or choose another --out"):
        merge_stores([one.path, other.path], one.path)


def test_features_are_kept_where_they_mean_the_same(tmp_path: Path) -> None:
    """Of one codec; of two they are left out, and that is said."""
    for name, dims in (("a", 3), ("b", 3), ("c", 2)):
        make_store(tmp_path / f"{name}.vgs", 5, key=name, codec=random_codec(dims=dims))
    paths = [str(tmp_path / f"{name}.vgs") for name in "abc"]
    merge_stores(paths[:2], str(tmp_path / "same.vgs"))
    same = open_store(str(tmp_path / "same.vgs"))
    assert same.group["features"][:].shape == (10, 1, 16, 3)
    assert "features.safetensors" in same.manifest.weights
    assert same.verify() == []
    said = merge_stores(paths, str(tmp_path / "other.vgs"))
    assert "features are left out: the stores do not have the same" in said
    other = open_store(str(tmp_path / "other.vgs"))
    assert other.manifest.features is None
    assert other.verify() == []


def test_classes_of_one_name_are_one(tmp_path: Path) -> None:
    """Ids of the first store stay; rows of the second keep their names."""
    one, other = two_stores(str(tmp_path))
    merge_stores([one.path, other.path], str(tmp_path / "c.vgs"))
    merged = open_store(str(tmp_path / "c.vgs"))
    assert merged.manifest.classes == (*ANIMALS, *(n for n in PLANTS if n not in ANIMALS))
    names = [merged.manifest.classes[label] for label in merged.label[:].tolist()]
    assert names == one.index["class"].to_pylist() + other.index["class"].to_pylist()


def test_a_store_from_elsewhere_is_told_of(tmp_path: Path) -> None:
    """A part that is not below the new store's folder opens only with NVG_PARTS."""
    one, other = two_stores(str(tmp_path))
    said = merge_stores([one.path, other.path], str(tmp_path / "deep" / "c.vgs"))
    assert "name its folder in NVG_PARTS to open the store" in said[-1]
