"""Sources by URL: the same rows, bytes and fingerprints as from a disk."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from nvg.store import open_store
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import FolderSource, ManifestSource, Place, Source, SourceError, open_source
from pipeline.sources.base import BadImageError
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.pipeline.sources.makers import write_list, write_shards, write_tables

PLACES = {
    SourceKind.FOLDER: "images",
    SourceKind.WEBDATASET: "shards",
    SourceKind.MANIFEST: "list.csv",
    SourceKind.PARQUET: "parquet",
    SourceKind.ARROW: "stream",
}


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[str]:
    """Six images in every packing on a disk (tmp_path), and the same files at a URL."""
    write_image_folder(tmp_path / "images", ("ant", "bee"), 3, 16)
    folder = FolderSource(tmp_path / "images")
    write_shards(folder, tmp_path / "shards")
    write_tables(folder, tmp_path)
    write_list(folder, tmp_path / "list.csv", [row.label for row in folder.rows])
    memory = fsspec.filesystem("memory")
    for key, data in files_below(tmp_path).items():
        memory.pipe_file(f"/set/{key}", data)
    yield "memory://set"
    memory.rm("/set", recursive=True)


def opened(kind: SourceKind, root: Path | str) -> Source:
    return open_source(DataConfig(source=kind, path=f"{root}/{PLACES[kind]}"))


@pytest.mark.parametrize("kind", PLACES)
def test_a_url_gives_what_a_disk_gives(remote: str, tmp_path: Path, kind: SourceKind) -> None:
    """Rows in the same order with the same labels and bytes, in any order of reading."""
    here, there = opened(kind, tmp_path), opened(kind, remote)
    assert (there.rows, there.classes) == (here.rows, here.classes)
    keys = [row.key for row in here.rows][::-1]
    assert list(there.read(keys)) == list(here.read(keys))
    if kind is not SourceKind.MANIFEST:  # whose files' sizes are asked for on a disk only
        assert there.fingerprint() == here.fingerprint()


@pytest.mark.thorough
@pytest.mark.parametrize("kind", PLACES)
def test_a_store_from_a_url_is_the_same(
    remote: str, tmp_path: Path, tokenizer: Path, kind: SourceKind
) -> None:
    """Tokens do not depend on where images lie."""
    stores = []
    for number, root in enumerate((tmp_path, remote)):
        recipe = tiny_recipe(data=DataConfig(source=kind, path=f"{root}/{PLACES[kind]}"))
        out = str(tmp_path / f"{number}.vgs")
        tokenize_dataset(recipe, tokenizer, out, Engine.INLINE)
        stores.append(open_store(out))
    for array in ("leaves", "content", "label"):
        assert getattr(stores[0], array)[:].tolist() == getattr(stores[1], array)[:].tolist()


def test_a_missing_remote_file_is_an_error_in_its_place(remote: str) -> None:
    """Its neighbours, fetched at the same time, are read all the same."""
    source = opened(SourceKind.FOLDER, remote)
    fsspec.filesystem("memory").rm_file("/set/images/ant/001.jpg")
    found = list(source.read([row.key for row in source.rows]))
    assert [isinstance(data, OSError) for data in found] == [False, True, *[False] * 4]


def test_a_list_may_name_urls(remote: str, tmp_path: Path) -> None:
    """Beside paths of its own; one that cannot be reached is an error row, whatever it raises."""
    local = tmp_path / "images" / "ant" / "000.png"
    listed = tmp_path / "mixed.csv"
    listed.write_text(
        f"path\nimages/ant/000.png\n{remote}/images/ant/000.png\n{local}\n"
        f"memory://set/lost.png\nnosuch://x.png\n"
    )
    source = ManifestSource(listed)
    *good, lost, unknown = source.read([row.key for row in source.rows])
    assert good == [local.read_bytes()] * 3
    assert isinstance(lost, FileNotFoundError)
    assert isinstance(unknown, OSError)


@pytest.mark.parametrize(
    ("path", "words"),
    [("memory://nothing", "does not exist"), ("nosuch://bucket", "cannot be reached.*nosuch")],
)
def test_a_url_that_leads_nowhere_is_named(path: str, words: str) -> None:
    """One line, with the path."""
    with pytest.raises(SourceError, match=words) as caught:
        open_source(DataConfig(source=SourceKind.FOLDER, path=path))
    assert path in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_folders_with_signs_of_a_pattern_are_plain_folders(tmp_path: Path) -> None:
    """A name like `set[1]*` is listed, not matched."""
    odd = tmp_path / "set[1]*"
    odd.mkdir()
    with tarfile.open(odd / "a.tar", "w") as shard:
        info = tarfile.TarInfo("x.png")
        info.size = 1
        shard.addfile(info, io.BytesIO(b"x"))
    assert [place.name for place in Place(odd).holding(".tar")] == ["a.tar"]


def test_a_class_may_be_a_link_to_a_folder(tmp_path: Path) -> None:
    """As subsets of ImageNet are often made; a link deeper down is not followed."""
    write_image_folder(tmp_path / "whole", ["ant"], 2)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "ant").symlink_to(tmp_path / "whole" / "ant")
    (tmp_path / "whole" / "ant" / "again").symlink_to(tmp_path / "whole")
    source = FolderSource(tmp_path / "part")
    assert [row.key for row in source.rows] == ["ant/000.png", "ant/001.jpg"]


def test_a_pipe_in_a_folder_is_never_read(tmp_path: Path) -> None:
    """With a suffix it is a row without an image, without one it is no image."""
    write_image_folder(tmp_path / "images", ("ant",), 1, 16)
    for name in ("pipe.png", "pipe"):
        os.mkfifo(tmp_path / "images" / "ant" / name)
    source = FolderSource(tmp_path / "images")
    assert [row.key for row in source.rows] == ["ant/000.png", "ant/pipe.png"]
    assert source.left_out == {"without suffix, and no image": 1}
    image, pipe = source.read([row.key for row in source.rows])
    assert isinstance(image, bytes)
    assert isinstance(pipe, BadImageError)


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path) -> None:
    """A sparse file of 100 GB takes no memory."""
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(10**11)
    (found,) = Place(tmp_path).read_many(["a.png"])
    assert isinstance(found, BadImageError)
    assert str(found) == "it has 100000000000 bytes, an image at most 1073741824"
