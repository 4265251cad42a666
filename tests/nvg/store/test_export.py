"""Exports open in other people's libraries, and hold what the store holds."""

import errno
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nvg.errors import InputError, WorkError
from nvg.format.base import StoreError
from nvg.store import Store
from nvg.store.export import ExportFormat, export_store
from tests.makers import files_below
from tests.nvg.store.makers import empty_plain_store, make_plain_store, swap_chunks

# N row, V view, L latent position, T content token


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hugging Face cache lies in the test's own folder, and nothing is looked up online."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def check(store: Store, rows: list[dict[str, Any]]) -> None:
    """Every valid row once, in order, with its key, label and tokens."""
    good = store.ok_rows()
    entries = store.index.filter(np.isin(np.asarray(store.index["row"]), good)).to_pylist()
    assert len(rows) == len(good) == 8
    for row, number, entry in zip(rows, good, entries, strict=True):
        assert (row["row"], row["key"], row["label"]) == (number, entry["key"], entry["label"])
        assert np.array_equal(np.array(row["leaves"]), store.leaves[number])
        assert np.array_equal(np.array(row["content"]), store.content[number])


@pytest.mark.thorough
def test_parquet_opens_in_datasets(store: Store, tmp_path: Path) -> None:
    """`load_dataset("parquet")` gives the rows, without any code of ours."""
    from datasets import load_dataset

    out = tmp_path / "tokens.parquet"
    assert export_store(store, ExportFormat.PARQUET, out) == 8
    loaded = load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "cache"))
    check(store, list(loaded["train"]))
    shaped = loaded["train"].with_format("numpy")[0]
    assert shaped["leaves"].shape == store.leaves.shape[1:]


def test_arrow_opens_in_datasets(store: Store, tmp_path: Path) -> None:
    """`Dataset.from_file` maps it into memory as it is."""
    from datasets import Dataset

    out = tmp_path / "tokens.arrow"
    assert export_store(store, ExportFormat.ARROW, out) == 8
    check(store, list(Dataset.from_file(str(out))))
    with pa.memory_map(str(out)) as source:
        leaves = pa.ipc.open_stream(source).read_all().schema.field("leaves").type
    assert leaves == pa.list_(pa.list_(pa.uint8(), 16), 2)


READ_SHARDS = """
import json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode():
    leaves, content = sample["leaves.npy"], sample["content.npy"]
    assert (leaves.dtype, content.dtype) == ("uint8", "uint16")
    assert sample["cls"] == sample["json"]["label"]
    print(json.dumps({**sample["json"], "leaves": leaves.tolist(), "content": content.tolist()}))
"""


@pytest.mark.thorough
def test_shards_open_in_webdataset(store: Store, tmp_path: Path) -> None:
    """A sample has arrays, class and facts, decoded by the library's own rules.

    In a process of its own, since the library leaves its files to the garbage collector.
    """
    out = tmp_path / "shards"
    assert export_store(store, ExportFormat.WEBDATASET, out) == 8
    shards = [str(path) for path in sorted(out.iterdir())]
    assert len(shards) == store.chunks
    command = [sys.executable, "-c", READ_SHARDS, *shards]
    read = subprocess.run(command, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    check(store, [json.loads(line) for line in read.stdout.splitlines()])


@pytest.mark.parametrize("kind", list(ExportFormat))
def test_an_export_is_the_same_twice_and_never_overwritten(
    store: Store, tmp_path: Path, kind: ExportFormat
) -> None:
    """The bytes follow from the store alone; what is there already is not touched."""
    for name in ("one", "two"):
        export_store(store, kind, tmp_path / name)
    files = [sorted(p for p in (tmp_path / n).rglob("*")) or [tmp_path / n] for n in ("one", "two")]
    assert [f.read_bytes() for f in files[0]] == [f.read_bytes() for f in files[1]]
    with pytest.raises(InputError, match="one exists"):
        export_store(store, kind, tmp_path / "one")
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("kind", list(ExportFormat))
@pytest.mark.parametrize("name", ["out.tmp", "out.0.tmp"])
def test_a_file_of_the_users_beside_the_export_stays(
    store: Store, tmp_path: Path, kind: ExportFormat, name: str
) -> None:
    """Whatever its name: the export's own temporary name is one that nobody has."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_bytes(b"mine")
    export_store(store, kind, tmp_path / "out")
    assert files_below(tmp_path / name) == {"notes.txt": b"mine"}
    assert not set(tmp_path.glob("*.tmp")) - {tmp_path / name}


@pytest.mark.parametrize("kind", list(ExportFormat))
def test_only_a_finished_store_is_exported(tmp_path: Path, kind: ExportFormat) -> None:
    """Half a dataset in another format would look like a whole one."""
    with pytest.raises(InputError, match="--resume"):
        export_store(empty_plain_store(tmp_path / "part.vgs", 8), kind, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_byte_leaves_keep_their_type(tmp_path: Path) -> None:
    """A 32x32 grid has leaves beyond 255."""
    store = make_plain_store(tmp_path / "large.vgs", rows=4, grid=32)
    export_store(store, ExportFormat.WEBDATASET, tmp_path / "shards")
    with tarfile.open(next((tmp_path / "shards").iterdir())) as shard:
        (name,) = [n for n in shard.getnames() if n.endswith("000000000.leaves.npy")]
        content = shard.extractfile(name)
        assert content is not None
        array = np.load(io.BytesIO(content.read()))
    assert array.dtype == np.uint16
    assert np.array_equal(array, store.leaves[0])


def test_an_export_keeps_the_splits(tmp_path: Path) -> None:
    """Held-out rows are in it, and can be told apart."""
    store = make_plain_store(tmp_path / "a.vgs", 10, bad=(1, 8), val=(7, 8, 9))
    assert export_store(store, ExportFormat.PARQUET, tmp_path / "out.parquet") == 8
    table = pq.read_table(tmp_path / "out.parquet").select(["row", "split"]).to_pylist()
    assert [entry["row"] for entry in table if entry["split"] == "val"] == [7, 9]
    assert [entry["row"] for entry in table if entry["split"] == "train"] == [0, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("array", ["leaves", "content", "label"])
@pytest.mark.parametrize("kind", ExportFormat)
def test_tokens_of_other_images_are_not_exported(
    tmp_path: Path, array: str, kind: ExportFormat
) -> None:
    """Chunks that have changed places are sound each, and not those that were committed."""
    store = make_plain_store(tmp_path / "a.vgs", 12)
    swap_chunks(tmp_path / "a.vgs", array)
    with pytest.raises(StoreError, match=f"chunk 1 is damaged .{array} does not match"):
        export_store(store, kind, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("kind", ExportFormat)
def test_a_full_disk_leaves_nothing(
    store: Store, kind: ExportFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the remedy, which is not --resume."""
    out = tmp_path / "exported"

    def full(*arguments: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr("nvg.store.export.Path.replace", full)
    with pytest.raises(WorkError, match=r"exported: no space is left .* give the command again"):
        export_store(store, kind, out)
    assert not list(tmp_path.glob("exported*"))


@pytest.mark.parametrize("kind", ExportFormat)
@pytest.mark.parametrize("name", ["a:b", "a\udcff", "a b%20#?[x]", "a\nb"])
def test_a_file_may_have_any_name(
    store: Store, kind: ExportFormat, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that looks like a URI, relative, or that is no UTF-8."""
    monkeypatch.chdir(tmp_path)
    assert export_store(store, kind, Path(name)) == 8
    assert (tmp_path / name).exists()
