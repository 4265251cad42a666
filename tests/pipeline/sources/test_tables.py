"""Tables of images: what their footers tell, and labels of some rows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.sources import ParquetSource, Place, SourceError, tables
from pipeline.sources.splits import Part
from pipeline.sources.tables import Arrow, Parquet, TableCount, count_table
from tests.pipeline.sources.makers import IMAGE, write_parquet


def counted(file: Path) -> TableCount:
    kind = Parquet() if file.suffix == ".parquet" else Arrow()
    return count_table(kind, "", "set", Part(file.name, Place(file)))


def test_numbers_are_told_by_the_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No column is read for their bounds; with statistics left out it is, to the same end."""
    images, labels = [b"x"] * 9, [4, None, 0, 7, 7, 1, None, 2, 3]
    write_parquet(tmp_path / "a.parquet", images, labels, row_group_size=4)
    write_parquet(tmp_path / "b.parquet", images, labels, write_statistics=False)
    wanted = TableCount(9, "image", "label", ("cat", "dog", "eel"), -1, 7)
    assert counted(tmp_path / "b.parquet") == wanted

    def unread(column: object) -> Any:
        raise AssertionError("it is read")

    monkeypatch.setattr(tables, "labels_of", unread)
    assert counted(tmp_path / "a.parquet") == wanted


@pytest.mark.parametrize("labels", [["a", "b", None, "b"], [1.0, float("nan"), 3.0, 0.0], [5] * 4])
def test_labels_of_some_rows(tmp_path: Path, labels: list[Any]) -> None:
    """From any first row to any last, over row groups, in both kinds of file."""
    write_parquet(tmp_path / "a.parquet", [b"x"] * 4, labels, row_group_size=3)
    table = pq.read_table(tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    whole = [None if label is None or label != label else label for label in labels]
    for kind, name in ((Parquet(), "a.parquet"), (Arrow(), "a.arrow")):
        for first in range(4):
            for stop in range(first + 1, 5):
                found = kind.labels(Place(tmp_path / name), "label", first, stop)
                assert found == whole[first:stop]


def test_names_in_one_file_make_numbers_in_another_names(tmp_path: Path) -> None:
    """As if all were in one file."""
    write_parquet(tmp_path / "a.parquet", [b"x"] * 3, [10, 2, None], names=None)
    write_parquet(tmp_path / "b.parquet", [b"x"] * 2, ["ant", "2"], names=None)
    source = ParquetSource(tmp_path)
    assert source.classes == ["10", "2", "ant"]
    assert [row.label for row in source.rows] == [0, 1, -1, 2, 1]


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    """Also one without a column of images."""
    (tmp_path / "a.parquet").write_bytes(b"text")
    pq.write_table(pa.table({"image": [1]}), tmp_path / "b.parquet")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(SourceError, match=rf"{name} is not image Parquet"):
            counted(tmp_path / name)


def test_a_file_that_has_shrunk_is_noticed(tmp_path: Path) -> None:
    """While a pass runs: its rows are no longer those that were counted."""
    write_parquet(tmp_path / "a.parquet", [b"x"] * 9, [0] * 9)
    source = ParquetSource(tmp_path)
    write_parquet(tmp_path / "a.parquet", [b"x"] * 5, [0] * 5)
    assert source.rows[3].key == "a.parquet:3"
    with pytest.raises(SourceError, match=r"a\.parquet has changed since its images were counted"):
        list(source.rows)


def test_an_empty_table_counts_nothing(tmp_path: Path) -> None:
    """It has columns all the same."""
    empty = pa.table({"image": pa.array([], IMAGE), "label": pa.array([], pa.int64())})
    pq.write_table(empty, tmp_path / "a.parquet")
    assert counted(tmp_path / "a.parquet") == TableCount(0, "image", "label")
