"""Counting the files of a source: once, in any number of threads, and kept."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources import FolderSource, ParquetSource, SourceError, TarSource
from pipeline.sources.counts import Counting, in_threads
from tests.makers import write_image_folder
from tests.pipeline.sources.makers import write_parquet, write_shards


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Four shards of 12 images."""
    write_image_folder(tmp_path / "images", ("ant", "bee"), per_class=6)
    write_shards(FolderSource(tmp_path / "images"), tmp_path / "shards", per_shard=3)
    return tmp_path / "shards"


class Noting:
    """Does the work here, and notes how many tasks it was given."""

    def __init__(self) -> None:
        self.tasks: list[int] = []

    def __call__(self, work: Any, tasks: Sequence[Any]) -> Iterator[Any]:
        self.tasks.append(len(tasks))
        return map(work, tasks)


@pytest.mark.parametrize("place", ["{}/a.counts", "memory://counts{}"])
def test_what_was_counted_is_not_counted_again(shards: Path, tmp_path: Path, place: str) -> None:
    """The source is the same, without opening a shard; until then nothing is written."""
    noting, kept = Noting(), place.format(tmp_path)
    first = Counting(noting, kept)
    source = TarSource(shards, first)
    assert len(list(TarSource(shards, Counting(noting, kept)).rows)) == 12
    assert noting.tasks == [4, 4]
    first.keep()
    again = TarSource(shards, Counting(noting, kept))
    assert noting.tasks == [4, 4]
    assert list(again.rows) == list(source.rows) == list(TarSource(shards).rows)
    assert (again.classes, again.left_out) == (source.classes, source.left_out)
    assert again.fingerprint() == source.fingerprint() == TarSource(shards).fingerprint()


@pytest.mark.parametrize("change", ["size", "time", "one more", "one less", "nonsense"])
def test_other_files_are_counted_again(shards: Path, tmp_path: Path, change: str) -> None:
    """Of another size or time, more or fewer of them, or where what was kept is no longer that."""
    noting, kept = Noting(), tmp_path / "a.counts"
    counting = Counting(noting, str(kept))
    TarSource(shards, counting)
    counting.keep()
    file = shards / "part-003.tar"
    if change == "size":
        shutil.copy(shards / "part-000.tar", file)
        with file.open("ab") as more:
            more.write(bytes(512))
    elif change == "time":
        os.utime(file, ns=(0, 0))
    elif change == "one more":
        shutil.copy(file, shards / "part-999.tar")
    elif change == "one less":
        file.unlink()
    else:
        kept.write_text('{"rows": "many"}')
    TarSource(shards, Counting(noting, str(kept)))
    assert len(noting.tasks) == 2


def test_another_column_of_labels_is_another_count(tmp_path: Path) -> None:
    """What is kept of one column says nothing of another."""
    write_parquet(tmp_path / "a.parquet", [b"x"], [2], names=None)
    kept = str(tmp_path / "a.counts")
    counting = Counting(kept=kept)
    assert ParquetSource(tmp_path, "", counting).classes == ["0", "1", "2"]
    counting.keep()
    with pytest.raises(SourceError, match=r"data\.label is 'kind'"):
        ParquetSource(tmp_path, "kind", Counting(kept=kept))


def test_threads_keep_the_order() -> None:
    """And the first error in the order of the tasks is raised."""
    assert list(in_threads(lambda n: n * n, range(50))) == [n * n for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda n: 1 // n, [1, 0]))
