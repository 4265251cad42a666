"""Duplicates: groups and counts are those of comparing every row with every other."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.compose.duplicates import Duplicates, StageCount, find_duplicates, stage_hashes
from nvg.compose.merge import merge_stores
from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.geometry import Geometry
from nvg.store import Store, open_store
from tests.nvg.compose.makers import memory
from tests.nvg.store.makers import (
    empty_store,
    flip_chunk,
    index_table,
    make_store,
    random_arrays,
    write_rows,
)
from tests.nvg.structure.kinds import random_leaves


def repeated_store(path: str, origins: list[int], cut: int, seed: int, key: str = "a") -> Store:
    """Row n has the tokens of image `origins[n]`, from stage `cut` on some of its own."""
    store = empty_store(path, len(origins), views=2)
    arrays = random_arrays(store, seed, bad=(0,))
    pool = random_arrays(empty_store(f"{memory()}/p.vgs", 4, views=2), 99)
    own = store.geometry.tokens if cut > 4 else store.geometry.stage_slice(cut).start
    for row, origin in enumerate(origins):
        if row:
            arrays["leaves"][row] = pool["leaves"][origin]
            arrays["content"][row, 0, :own] = pool["content"][origin, 0, :own]
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index_table(store, arrays, bad=(0,), key=key))
    store.finish()
    return store


def compared(store: Store, last: int) -> list[list[int]]:
    """Rows grouped by their tokens and structure maps, as tuples."""
    groups = defaultdict(list)
    upto = 2 ** (last + 1) - 1
    for row in store.ok_rows(None).tolist():
        leaves, content = store.leaves[row][0], store.content[row][0]
        maps = tuple(int(leaf) >> (store.geometry.K - last) for leaf in leaves)
        groups[maps, tuple(content[:upto].tolist())].append(row)
    return sorted((g for g in groups.values() if len(g) > 1), key=lambda g: (-len(g), g))


@pytest.mark.thorough
@settings(deadline=None, max_examples=10)
@given(
    one=st.lists(st.integers(0, 3), min_size=1, max_size=9),
    other=st.lists(st.integers(0, 3), min_size=1, max_size=9),
    cut=st.integers(1, 5),
    last=st.integers(0, 4),
    bucket=st.integers(1, 20),
)
def test_groups_are_those_of_comparing_all(
    one: list[int], other: list[int], cut: int, last: int, bucket: int
) -> None:
    """Across a merged store, in buckets of any size; error rows equal nothing."""
    home = memory()
    paths = [
        repeated_store(f"{home}/{key}.vgs", origins, cut, seed, key).path
        for seed, (key, origins) in enumerate((("a", one), ("b", other)))
    ]
    merge_stores(paths, f"{home}/c.vgs")
    store = open_store(f"{home}/c.vgs")
    found = find_duplicates(store, last, bucket)
    assert found.groups == compared(store, last)
    for count in found.counts:
        groups = compared(store, count.stage)
        assert (count.groups, count.rows) == (len(groups), sum(map(len, groups)))
    assert [count.stage for count in found.counts] == list(range(last + 1))
    assert found.rows == len(one) + len(other) - 2


def test_equal_hashes_are_compared_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose hashes collide are no duplicates."""
    store = make_store(f"{memory()}/a.vgs", 6)
    monkeypatch.setattr(
        "nvg.compose.duplicates.stage_hashes",
        lambda leaves, content, geometry, last: np.zeros((last + 1, len(leaves)), np.uint64),
    )
    assert find_duplicates(store).groups == []
    assert find_duplicates(store).counts[-1] == StageCount(4, 0, 0)


def test_a_store_without_tokens_has_none() -> None:
    """Error rows are not compared."""
    store = make_store(f"{memory()}/a.vgs", 3, bad=range(3))
    assert find_duplicates(store, 0) == Duplicates(0, [StageCount(0, 0, 0)], [])


def test_hashes_depend_on_all_up_to_the_stage() -> None:
    """One token or two positions changed at stage s: equal before, another from there on."""
    geometry, rng = Geometry(4), np.random.default_rng(0)
    leaves = random_leaves(rng, (1,), 4)
    content = rng.integers(16, size=(1, 31), dtype=np.uint16)
    before = stage_hashes(leaves, content, geometry, 4)[:, 0]
    for stage in range(5):
        other = content.copy()
        other[0, geometry.stage_slice(stage).start] ^= 1
        after = stage_hashes(leaves, other, geometry, 4)[:, 0]
        assert (before == after).tolist() == [n < stage for n in range(5)]
    swapped = leaves.copy()  # two leaves that part at the last stage change places
    first, second = (int(np.flatnonzero(leaves[0] == leaf)[0]) for leaf in (6, 7))
    swapped[0, [first, second]] = swapped[0, [second, first]]
    after = stage_hashes(swapped, content, geometry, 4)[:, 0]
    assert (before == after).tolist() == [True] * 4 + [False]


def test_what_cannot_be_searched_is_one_line(tmp_path: Path) -> None:
    """A stage that there is not, an unfinished store, a damaged chunk."""
    store = make_store(tmp_path / "a.vgs", 6)
    with pytest.raises(InputError, match=r"there is no stage 5: .* has 0..4"):
        find_duplicates(store, 5)
    with pytest.raises(StoreError, match="unfinished"):
        find_duplicates(empty_store(tmp_path / "b.vgs", 4))
    flip_chunk(tmp_path / "a.vgs", "content", 1)
    with pytest.raises(StoreError, match=r"chunk 1 is damaged"):
        find_duplicates(store)
