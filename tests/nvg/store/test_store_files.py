"""What a store is opened by: bounded reads of descriptions, the arrays, the records."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from nvg.format.base import StoreError
from nvg.format.damage import DamageError
from nvg.loader.token_reader import TokenReader
from nvg.store import Store, open_store


def test_the_head_of_a_file_is_not_more_than_asked_for(store: Store) -> None:
    """So that a description of 100 GB costs no memory."""
    assert store.head("manifest.json", 10) == store.read("manifest.json")[:10]


def test_a_manifest_without_end_is_refused(store: Store) -> None:
    """A sparse file of a terabyte is not read."""
    with Path(store.path, "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match=r"its manifest\.json is over 67108864 bytes"):
        open_store(store.path)


def test_a_lost_array_is_said_when_it_is_asked_for(store: Store) -> None:
    """With the remedy; what else the store holds can be read."""
    Path(store.path, "content", "zarr.json").unlink()
    opened = open_store(store.path)
    assert len(opened.index) == 10
    with pytest.raises(StoreError, match=r"has lost its content/zarr\.json: repair it"):
        _ = opened.leaves


@pytest.mark.parametrize("name", ["manifest.json", "index.parquet", "leaves/zarr.json"])
def test_what_is_no_file_is_not_read(store: Store, name: str) -> None:
    """A pipe would be waited for without end."""
    path = Path(store.path, name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match=f"{path.name} is a pipe or a device, not a file"):
        _ = open_store(store.path).index


@pytest.mark.parametrize("name", ["commits/00001.json", "content/c/1/0/0"])
def test_a_chunk_that_is_no_file_is_damaged(store: Store, name: str) -> None:
    """`verify` and every reader say which."""
    path = Path(store.path, name)
    path.unlink()
    path.symlink_to("/dev/zero")
    opened = open_store(store.path)
    said = f"{path.name} is a pipe or a device, not a file"
    assert opened.verify() == [f"chunk 1: cannot be read: {said}"]
    reader = TokenReader(opened)
    with pytest.raises(StoreError, match=said):
        reader.read(reader.pieces[1:2])
    if name.startswith("content"):
        with pytest.raises(StoreError, match=f"row 5 or one shown with it cannot be read .{said}"):
            opened.row_tokens([5])


def test_opening_reads_each_description_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read, head = Counter[str](), Store.head

    def counted(self: Store, name: str, count: int) -> bytes:
        read[name] += 1
        return head(self, name, count)

    monkeypatch.setattr(Store, "head", counted)
    assert open_store(store.path).leaves.shape[0] == len(store)
    described = {"manifest.json", "tokenizer.safetensors", "zarr.json"}
    assert read == Counter(described | {f"{name}/zarr.json" for name in store.arrays})


@pytest.mark.parametrize("name", ["zarr.json", "leaves/zarr.json"])
def test_a_description_that_zarr_refuses_is_one_line(store: Store, name: str) -> None:
    """Where the fields that count are right."""
    file = Path(store.path, name)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attributes": "none", "more": 1}))
    with pytest.raises(StoreError, match=rf"{name} cannot be read \(.*: restore it from a copy"):
        _ = open_store(store.path).leaves


def test_a_lost_group_is_said_once(store: Store) -> None:
    """Whoever asks for an array of it."""
    Path(store.path, "zarr.json").unlink()
    with pytest.raises(StoreError, match=r"tokens\.vgs has lost its zarr\.json; tokenize again$"):
        _ = open_store(store.path).leaves


def test_a_part_of_a_large_file_is_read(store: Store) -> None:
    """A shard may be longer than what is read at once; a part that claims more is not read."""
    with Path(store.path, "large").open("wb") as file:
        file.write(b"start")
        file.truncate(1 << 35)
    assert store.read("large", 1, 4) == b"tar"
    assert store.read("large", -3) == bytes(3)
    for span in ((None, None), (0, 1 << 35), (-(1 << 35), None)):
        with pytest.raises(DamageError, match="large is over 17,179,869,184 bytes"):
            store.read("large", *span)
