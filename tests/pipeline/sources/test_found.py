"""The kind of source, found by looking."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.recipe import SourceKind
from pipeline.sources import FolderSource, SourceError, find_data, open_source
from tests.makers import write_image_folder
from tests.nvg.store.makers import make_store
from tests.pipeline.sources.makers import write_list, write_shards, write_tables


def test_every_form_is_found(folder: FolderSource, tmp_path: Path) -> None:
    """The same images from each, whose kind is said."""
    write_shards(folder, tmp_path / "shards")
    write_tables(folder, tmp_path)
    write_list(folder, tmp_path / "list.csv", [row.label for row in folder.rows])
    keys = [f"images/{row.key}" for row in folder.rows]
    pq.write_table(pa.table({"path": keys}), tmp_path / "list.parquet")
    expected = list(folder.read([row.key for row in folder.rows]))
    for name, kind, said in [
        ("images", SourceKind.FOLDER, "a folder of images"),
        ("shards", SourceKind.WEBDATASET, "a folder of tar shards"),
        ("shards/part-*.tar", SourceKind.WEBDATASET, "tar shards"),
        ("parquet", SourceKind.PARQUET, "a folder of Hugging Face Parquet"),
        ("parquet/a.parquet", SourceKind.PARQUET, "Hugging Face Parquet"),
        ("stream", SourceKind.ARROW, "a folder of Hugging Face Arrow"),
        ("list.csv", SourceKind.MANIFEST, "a list of images"),
        ("list.parquet", SourceKind.MANIFEST, "a list of images"),
    ]:
        found = find_data(str(tmp_path / name))
        assert (found.data.source, found.said) == (kind, said), name
        source = open_source(found.data)
        assert list(source.read([row.key for row in source.rows])) == expected, name


def test_tables_in_folders_of_splits_are_found(tmp_path: Path) -> None:
    """As a saved DatasetDict has them."""
    for split in ("train", "validation"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "data-00000-of-00001.arrow").write_bytes(b"")
        (tmp_path / split / "state.json").write_text("{}")
    assert find_data(str(tmp_path)).data.source is SourceKind.ARROW


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "gone does not exist: name a recipe"),
        ("s-*.tar", r"s-\*\.tar does not exist"),
        ("a.tar.gz", "is packed: unpack it"),
        ("a.zip", "is packed: unpack it"),
        ("a.png", "is one image: name the folder"),
        ("a.bin", "is no data that is known by its name"),
        ("no-such-protocol://bucket/a", "cannot be reached"),
        ("http://127.0.0.1:9/a.parquet", "does not exist, or its server does not answer: name a"),
    ],
)
def test_what_is_no_data_is_told(tmp_path: Path, name: str, words: str) -> None:
    """In one line."""
    for file in ("a.tar.gz", "a.zip", "a.png", "a.bin"):
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(SourceError, match=words) as caught:
        find_data(name if "://" in name else str(tmp_path / name))
    assert len(str(caught.value).splitlines()) == 1


def test_a_store_is_no_source(tmp_path: Path) -> None:
    """Its index is Parquet, but no image lies there."""
    make_store(tmp_path / "tokens.vgs", rows=2)
    with pytest.raises(SourceError, match=r"tokens\.vgs is a store of tokens: name the images"):
        find_data(str(tmp_path / "tokens.vgs"))


def test_links_that_lead_nowhere_hinder_no_folder(tmp_path: Path) -> None:
    """Links to themselves or to what is gone are images that cannot be read; to above, no class."""
    write_image_folder(tmp_path / "images", ["only"], 1)
    for name, target in (("self.png", "self.png"), ("gone.png", "none.png")):
        (tmp_path / "images" / name).symlink_to(target)
        (tmp_path / "images" / "only" / name).symlink_to(target)
    (tmp_path / "images" / "again").symlink_to(".")
    (tmp_path / "images" / "above").symlink_to("..")
    source = open_source(find_data(str(tmp_path / "images")).data)
    assert source.classes == ["only"]
    keys = [row.key for row in source.rows]
    assert keys == ["only/000.png", "only/gone.png", "only/self.png"]
    assert [isinstance(data, bytes) for data in source.read(keys)] == [True, False, False]


def test_a_pattern_that_fits_one_name_twice_is_refused(
    folder: FolderSource, tmp_path: Path
) -> None:
    """Keys would not tell their images apart."""
    write_shards(folder, tmp_path / "x", per_shard=9)
    write_shards(folder, tmp_path / "y", per_shard=9)
    with pytest.raises(SourceError, match="fits files of one name in several folders"):
        open_source(find_data(str(tmp_path / "*" / "part-000.tar")).data)
