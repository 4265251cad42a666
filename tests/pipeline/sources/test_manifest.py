"""Lists of images in CSV and JSON lines."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from nvg.store import Split
from pipeline.sources import (
    ManifestSource,
    Rows,
    SourceError,
    manifest,
)
from pipeline.sources.base import BadImageError
from pipeline.sources.rows import Columns, PartListing


def test_a_list_counts_from_its_own_folder(tmp_path: Path) -> None:
    """Absolute paths are taken as they are; a missing file is an error in its place."""
    (tmp_path / "a.png").write_bytes(b"one")
    listed = tmp_path / "list.csv"
    listed.write_text(f"label,path\n3,a.png\n,{tmp_path}/a.png\n1,lost.png\n")
    source = ManifestSource(listed)
    assert [row.label for row in source.rows] == [3, -1, 1]
    first, second, third = source.read([row.key for row in source.rows])
    assert (first, second) == (b"one", b"one")
    assert isinstance(third, FileNotFoundError)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("list.csv", "label\n1\n", r"none of its columns \(label\) is one of path, file, "),
        ("list.csv", "a.png,cat\n", "lists no images"),
        ("list.csv", "a.png,cat\nb.png,dog\n", r"none of its columns \(a\.png, cat\) is one of"),
        ("list.json", '{"images": []}', "no JSON list of paths, or of objects with a path"),
        ("list.json", '[{"path": "a.png"}', "it is no JSON, or is cut short"),
        ("list.jsonl", '{"path": "a.png"}\n{"path":\n', "line 2 is no JSON, or is cut short"),
        ("list.json", "[" * 100_000, "it is no JSON, or is cut short"),
        ("list.csv", "path,label\n", "lists no images"),
        ("list.csv", "path,label\na.png,99999999999\n", "label 99999999999"),
        ("list.jsonl", '{"path": "a.png"}\n{"label": 1}\n', "line 2 has no path"),
        ("list.jsonl", '{"path": "a.png"}\n[1]\n', "line 2 is no object"),
        ("list.jsonl", "a.png\n", "list of images"),
        ("list.csv", "path,split\na.png,train\nb.png,dev\n", "line 3 has split 'dev', not train, "),
        ("list.txt", "a.png\n", r"must end in one of \.csv"),
        ("list.csv", "path label\na.png 1\n", r"none of its columns \(path label\) is one of"),
        ("list.csv", "path,label\na.png,5000000000\n", "label 5000000000"),
    ],
)
def test_lists_that_cannot_be_used_are_named(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    """One line with the file, and the line in it."""
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=words) as caught:
        ManifestSource(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_usual_names_of_columns_are_found(tmp_path: Path) -> None:
    """The labels of pandas in a column `class`; a key names another column."""
    listed = tmp_path / "list.csv"
    listed.write_text("file_name , class, kind\na.png,10.0,x\nb.png,,y\nc.png,-1,x\n")
    source = ManifestSource(listed)
    assert [(row.key, row.label) for row in source.rows] == [
        ("a.png", 10),
        ("b.png", -1),
        ("c.png", -1),
    ]
    assert ManifestSource(listed, "Kind").classes == ["x", "y"]
    with pytest.raises(SourceError, match=r"data\.label is 'colour', which .*list\.csv does not"):
        ManifestSource(listed, "colour")


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the list, and those in it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"one")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.csv").write_text("path\n~/a.png\n")
    source = ManifestSource("~/lists/list.csv")
    before = source.fingerprint()
    assert list(source.read(["~/a.png"])) == [b"one"]
    (tmp_path / "a.png").write_bytes(b"longer")
    assert source.fingerprint() != before


def test_an_entry_without_a_split_is_for_training(tmp_path: Path) -> None:
    """Beside others that have one."""
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"path": "a.png"}\n{"path": "b.png", "split": "valid"}\n')
    rows = ManifestSource(listed).rows
    assert [row.split for row in rows] == [Split.TRAIN, Split.VAL]


def test_odd_paths_are_rows_without_an_image(tmp_path: Path) -> None:
    """A NUL, half a character, a pipe, a device and a folder hang nothing and end nothing."""
    (tmp_path / "a.png").write_bytes(b"one")
    os.mkfifo(tmp_path / "pipe.png")
    paths = ["a\0b.png", "\ud800.png", "pipe.png", "/dev/zero", ".", "file:///dev/zero", "a.png"]
    lines = (json.dumps({"path": path, "label": "\udfff"}) + "\n" for path in paths)
    (tmp_path / "list.jsonl").write_text("".join(lines))
    source = ManifestSource(tmp_path / "list.jsonl")
    assert source.rows[1].key == r"\ud800.png"
    assert source.classes == [r"\udfff"]
    assert len(source.fingerprint()) == 64
    *bad, good = source.read([row.key for row in source.rows])
    assert good == b"one"
    assert isinstance(bad.pop(1), FileNotFoundError)
    assert all(isinstance(each, BadImageError) for each in bad)
    assert [str(each) for each in bad[:2]] == [
        "no file can have that name",
        "pipe.png is a pipe or a device, not a file",
    ]


def test_a_list_that_is_no_text_is_told_of_plainly(tmp_path: Path) -> None:
    """Not in the words of a decoder."""
    (tmp_path / "list.csv").write_bytes(b"path\n\xff.png\n")
    with pytest.raises(SourceError, match="is no list of images: it is not UTF-8"):
        ManifestSource(tmp_path / "list.csv")


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl", "list.parquet"])
def test_a_long_list_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The rows are those that are held in memory else, the test split is left out of both."""
    words = ["train"] * 9 + ["test"] * 9 + ["val", "train"] * 4 + ["test"]
    entries = [
        {"path": f"{n}.png", "label": f"c{n % 4}" if n % 5 else None, "split": word}
        for n, word in enumerate(words)
    ]
    listed = tmp_path / name
    table = pa.Table.from_pylist(entries)
    if name.endswith("csv"):
        pa.csv.write_csv(table, listed)
    elif name.endswith("parquet"):
        pq.write_table(table, listed, row_group_size=4)
    else:
        listed.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    held = ManifestSource(listed)
    assert isinstance(held.rows, Rows)
    assert isinstance(held.rows.listing, Columns)
    monkeypatch.setattr(manifest, "HELD", 0)
    monkeypatch.setattr(manifest, "PART_ENTRIES", 4)
    long = ManifestSource(listed)
    assert isinstance(long.rows, Rows)
    assert isinstance(long.rows.listing, PartListing)
    assert np.diff(long.rows.listing.ends, prepend=0).tolist() == [4, 4, 1, 0, 2, 4, 2]
    assert list(long.rows) == list(held.rows)
    assert long.rows[::-3] == held.rows[::-3]
    assert pickle.loads(pickle.dumps(long)).rows[7] == held.rows[7]
    assert (long.classes, long.fingerprint()) == (held.classes, held.fingerprint())
    with listed.open("ab") as file:
        file.write(b"\n")
    with pytest.raises(SourceError, match=f"{name} has changed since its images were counted"):
        long.rows[0]
