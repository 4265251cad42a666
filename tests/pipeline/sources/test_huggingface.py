"""Parquet sources: Hugging Face image files, their rows, their classes, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import ParquetSource, Row, SourceError, huggingface, open_source
from pipeline.sources.base import BadImageError
from tests.pipeline.sources.makers import IMAGE, write_parquet


def test_parquet_files_are_rows_in_order(tmp_path: Path) -> None:
    """Several files and row groups: rows in order of file name, each with its own bytes."""
    data = [f"image {n}".encode() for n in range(12)]
    labels = [n % 3 for n in range(12)]
    write_parquet(tmp_path / "b.parquet", data[5:], labels[5:], row_group_size=3)
    write_parquet(tmp_path / "a.parquet", data[:5], labels[:5], row_group_size=2)
    source = open_source(DataConfig(source=SourceKind.PARQUET, path=str(tmp_path)))
    assert source.classes == ["cat", "dog", "eel"]
    assert [row.label for row in source.rows] == labels
    keys = [row.key for row in source.rows]
    assert len(set(keys)) == 12
    assert list(source.read(keys)) == data


@settings(deadline=None, max_examples=25)
@given(picks=st.lists(st.integers(0, 11), max_size=20))
def test_parquet_reads_any_rows_in_any_order(
    picks: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is asked for comes in the order asked, repeats included."""
    path = tmp_path_factory.mktemp("parquet")
    data = [f"image {n}".encode() for n in range(12)]
    write_parquet(path / "a.parquet", data[:7], [0] * 7, row_group_size=3)
    write_parquet(path / "b.parquet", data[7:], [0] * 5, row_group_size=1)
    source = ParquetSource(path)
    found = list(source.read([source.rows[n].key for n in picks]))
    assert found == [data[n] for n in picks]


def test_one_parquet_file_is_a_source(tmp_path: Path) -> None:
    """data.path may name the file itself."""
    write_parquet(tmp_path / "a.parquet", [b"x"], [1])
    assert [row.label for row in ParquetSource(tmp_path / "a.parquet").rows] == [1]


def test_an_image_column_of_another_name_is_found(tmp_path: Path) -> None:
    """CIFAR-10 calls it `img`."""
    write_parquet(tmp_path / "a.parquet", [b"x"], [1], column="img")
    source = ParquetSource(tmp_path)
    assert list(source.read([source.rows[0].key])) == [b"x"]


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    """Without Hugging Face metadata the classes are 0 to the largest label."""
    write_parquet(tmp_path / "a.parquet", [b"x", b"y"], [0, 3], names=None)
    assert ParquetSource(tmp_path).classes == ["0", "1", "2", "3"]


def test_null_images_are_errors_in_their_place(tmp_path: Path) -> None:
    """A cell without bytes does not hinder its neighbours."""
    write_parquet(tmp_path / "a.parquet", [b"x", None, b"z"], [0, 1, 2])
    source = ParquetSource(tmp_path)
    parts = list(source.read([row.key for row in source.rows]))
    assert (parts[0], parts[2]) == (b"x", b"z")
    assert isinstance(parts[1], OSError)


CELLS = pa.array([{"bytes": b"x", "path": None}], IMAGE)


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [1], "text": ["x"]},
        {"image": [b"x"], "label": [1]},
        {"image": ["x.png"], "label": [1]},
        {"image": CELLS, "label": [0.5]},
        {"image": CELLS, "label": [[1]]},
        {"image": CELLS, "label": [5_000_000_000]},
        {"image": CELLS, "label": [-2]},
    ],
    ids=["no image", "plain bytes", "paths", "fractions", "lists", "a huge id", "a negative id"],
)
def test_other_parquet_columns_are_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    """What is not `image: {bytes, path}` and an integer `label` gives one line with the file."""
    pq.write_table(pa.table(columns), tmp_path / "odd.parquet")
    with pytest.raises(SourceError, match=r"odd\.parquet") as caught:
        ParquetSource(tmp_path / "odd.parquet")
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_without_labels_has_no_classes(tmp_path: Path) -> None:
    """For unconditional use: every label is -1."""
    pq.write_table(pa.table({"image": CELLS, "score": [1]}), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    assert (source.classes, source.rows) == ([], [Row("a.parquet:0", -1)])


def test_a_null_label_means_no_class(tmp_path: Path) -> None:
    """Rows without a label have class id -1, as unlabelled test sets have."""
    write_parquet(tmp_path / "a.parquet", [b"x", b"y"], pa.array([2, None], pa.int64()))
    assert [row.label for row in ParquetSource(tmp_path).rows] == [2, -1]


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    """Label 3 of three named classes is a SourceError, not a crash in the middle of the pass."""
    write_parquet(tmp_path / "odd.parquet", [b"x", b"y"], [0, 3])
    with pytest.raises(SourceError, match="3"):
        ParquetSource(tmp_path)


def test_a_changed_parquet_file_has_another_fingerprint(tmp_path: Path) -> None:
    """A further file, or another size of one, is noticed."""
    write_parquet(tmp_path / "a.parquet", [b"x"], [0])
    prints = [ParquetSource(tmp_path).fingerprint()]
    write_parquet(tmp_path / "b.parquet", [b"x"], [0])
    prints.append(ParquetSource(tmp_path).fingerprint())
    write_parquet(tmp_path / "b.parquet", [b"x" * 1000], [0])
    prints.append(ParquetSource(tmp_path).fingerprint())
    assert len(set(prints)) == 3


class Counted:
    """A Parquet reader that counts the row groups it reads."""

    def __init__(self, path: str, read: list[tuple[str, int]]) -> None:
        self.path, self.inner, self.read = path, pq.ParquetFile(path), read
        self.metadata = self.inner.metadata

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *_: object) -> None:
        self.inner.close()

    def read_row_group(self, group: int, columns: list[str]) -> pa.Table:
        self.read.append((Path(self.path).name, group))
        return self.inner.read_row_group(group, columns=columns)


def test_a_row_group_is_read_once_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However its rows are mixed with those of other groups and files; groups asked for alone."""
    data = [f"image {n}".encode() for n in range(20)]
    write_parquet(tmp_path / "a.parquet", data[:12], [0] * 12, row_group_size=4)
    write_parquet(tmp_path / "b.parquet", data[12:], [0] * 8, row_group_size=4)
    source, read = ParquetSource(tmp_path), list[tuple[str, int]]()
    monkeypatch.setattr(huggingface, "parquet_bytes", lambda file: Counted(file.root, read))
    picks = [13, 0, 9, 1, 12, 10, 3, 14, 2]
    assert list(source.read([source.rows[n].key for n in picks])) == [data[n] for n in picks]
    assert sorted(read) == [("a.parquet", 0), ("a.parquet", 2), ("b.parquet", 0)]


def test_rows_in_order_are_passed_on_group_by_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass over a large file holds one row group, as it is decoded."""
    data = [f"image {n}".encode() for n in range(12)]
    write_parquet(tmp_path / "a.parquet", data, [0] * 12, row_group_size=4)
    source, read = ParquetSource(tmp_path), list[tuple[str, int]]()
    monkeypatch.setattr(huggingface, "parquet_bytes", lambda file: Counted(file.root, read))
    images = source.read([row.key for row in source.rows])
    assert [(next(images), len(read)) for _ in range(12)] == [
        (image, n // 4 + 1) for n, image in enumerate(data)
    ]


def test_an_empty_row_group_hides_no_row(tmp_path: Path) -> None:
    """Rows are found behind one."""
    kind = pa.schema({"image": IMAGE, "label": pa.int64()})
    with pq.ParquetWriter(tmp_path / "a.parquet", kind) as writer:
        for names in ([], ["x", "y"], [], ["z"]):
            cells = pa.array([{"bytes": n.encode(), "path": None} for n in names], IMAGE)
            labels = pa.array([0] * len(names), pa.int64())
            writer.write_table(pa.table({"image": cells, "label": labels}))
    source = ParquetSource(tmp_path)
    assert list(source.read([row.key for row in source.rows[::-1]])) == [b"z", b"y", b"x"]


@pytest.mark.parametrize("name", ["labels", "fine_label", "class", "target", "label_name"])
def test_usual_names_of_labels_are_found(tmp_path: Path, name: str) -> None:
    """With the names of their classes, and of any type that tells classes."""
    cells = pa.array([{"bytes": b"x", "path": None}] * 3, IMAGE)
    features = json.dumps({"info": {"features": {name: {"names": ["a", "b", "c"]}}}})
    table = pa.table({"image": cells, name: [2, None, 0]})
    pq.write_table(table.replace_schema_metadata({"huggingface": features}), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path)
    assert source.classes == ["a", "b", "c"]
    assert [row.label for row in source.rows] == [2, -1, 0]


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        ([1.0, None, float("nan")], ["0", "1"], [1, -1, -1]),
        (["dog", "", "cat"], ["cat", "dog"], [1, -1, 0]),
        (pa.array(["dog", None, "cat"]).dictionary_encode(), ["cat", "dog"], [1, -1, 0]),
        ([-1, -1, 1], ["0", "1"], [-1, -1, 1]),
    ],
)
def test_labels_of_other_types(
    tmp_path: Path, labels: Any, names: list[str], ids: list[int]
) -> None:
    """Whole floats, as pandas has them beside a missing one; names."""
    cells = pa.array([{"bytes": b"x", "path": None}] * 3, IMAGE)
    pq.write_table(pa.table({"image": cells, "kind": labels}), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path, "kind")
    assert (source.classes, [row.label for row in source.rows]) == (names, ids)


def test_files_may_call_their_images_differently(tmp_path: Path) -> None:
    """Each is read by its own column."""
    write_parquet(tmp_path / "a.parquet", [b"one"], [0])
    write_parquet(tmp_path / "b.parquet", [b"two"], [1], column="picture")
    source = ParquetSource(tmp_path)
    assert list(source.read([row.key for row in source.rows])) == [b"one", b"two"]


def test_a_broken_page_costs_its_rows_only(tmp_path: Path) -> None:
    """They become error rows; those of other row groups are read."""
    file, data = tmp_path / "a.parquet", [bytes([n]) * 99 for n in range(6)]
    write_parquet(file, data, [0] * 6, row_group_size=2, compression="none", use_dictionary=False)
    found = pq.ParquetFile(file).metadata.row_group(1).column(0)
    broken = bytearray(file.read_bytes())
    start = found.data_page_offset
    broken[start : start + 16] = b"\xff" * 16
    file.write_bytes(bytes(broken))
    source = ParquetSource(file)
    read = list(source.read([row.key for row in source.rows]))
    assert read[:2] + read[4:] == data[:2] + data[4:]
    for bad in read[2:4]:
        assert isinstance(bad, BadImageError)
        assert str(bad).startswith("its part of the file is damaged: ")


def test_text_is_no_image(tmp_path: Path) -> None:
    """A column of {bytes, path} whose bytes are text is refused at once."""
    kind = pa.struct([("bytes", pa.string()), ("path", pa.string())])
    cells = pa.array([{"bytes": "a", "path": None}], kind)
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no image column among image"):
        ParquetSource(tmp_path / "a.parquet")


def test_a_broken_page_of_labels_is_one_line(tmp_path: Path) -> None:
    """Where the footer tells their bounds they are read by who needs them."""
    write_parquet(tmp_path / "a.parquet", [b"x"] * 9, [0, 1, 2] * 3, row_group_size=4)
    source = ParquetSource(tmp_path)
    place = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(2)
    with (tmp_path / "a.parquet").open("r+b") as file:
        file.seek(place.dictionary_page_offset or place.data_page_offset)
        file.write(b"\xff" * 12)
    with pytest.raises(SourceError, match="column label is damaged: restore the file") as caught:
        list(source.rows)
    assert len(str(caught.value).splitlines()) == 1
    assert "Exception" not in str(caught.value)
