"""Tar shards, lists of images and Arrow files: the same images whichever way they come."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

from nvg.store import open_store
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import (
    ArrowSource,
    FolderSource,
    ManifestSource,
    ParquetSource,
    Source,
    TarSource,
)
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import tiny_recipe
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.sources.makers import (
    CLASSES,
    add_member,
    write_list,
    write_shards,
    write_tables,
)


def everywhere(folder: FolderSource, tmp_path: Path) -> dict[str, Source]:
    """The same images from every kind of source."""
    write_shards(folder, tmp_path / "shards")
    write_shards(folder, tmp_path / "named", label="json")
    write_tables(folder, tmp_path)
    names = [CLASSES[row.label] for row in folder.rows]
    ids = [row.label for row in folder.rows]
    return {
        "tar": TarSource(tmp_path / "shards"),
        "named tar": TarSource(tmp_path / "named"),
        "csv": ManifestSource(write_list(folder, tmp_path / "list.csv", names)),
        "jsonl": ManifestSource(write_list(folder, tmp_path / "list.jsonl", ids)),
        "parquet": ParquetSource(tmp_path / "parquet"),
        "arrow stream": ArrowSource(tmp_path / "stream"),
        "arrow file": ArrowSource(tmp_path / "random"),
    }


def test_every_source_gives_the_same_images(folder: FolderSource, tmp_path: Path) -> None:
    """Bytes and labels are those of the folder, in any order, and for a worker without the rows."""
    expected = list(folder.read([row.key for row in folder.rows]))
    for name, source in everywhere(folder, tmp_path).items():
        assert [row.label for row in source.rows] == [row.label for row in folder.rows], name
        keys = [row.key for row in source.rows]
        assert len(set(keys)) == len(keys)
        source.rows = []  # as a worker has it
        assert list(source.read(keys)) == expected, name
        assert list(source.read(keys[::-1])) == expected[::-1], name


@pytest.mark.thorough
def test_every_source_gives_the_same_tokens(folder: FolderSource, tmp_path: Path) -> None:
    """Leaves and content do not depend on how the pictures are packed."""
    sources = everywhere(folder, tmp_path)
    write_autoencoder(tmp_path / "run")
    places = {
        "folder": (SourceKind.FOLDER, "images"),
        "tar": (SourceKind.WEBDATASET, "shards"),
        "csv": (SourceKind.MANIFEST, "list.csv"),
        "jsonl": (SourceKind.MANIFEST, "list.jsonl"),
        "parquet": (SourceKind.PARQUET, "parquet"),
        "arrow": (SourceKind.ARROW, "stream"),
    }
    assert len(sources) >= len(places)
    stores = []
    for name, (kind, place) in places.items():
        recipe = tiny_recipe(data=DataConfig(source=kind, path=str(tmp_path / place)))
        out = str(tmp_path / f"{name}.vgs")
        tokenize_dataset(recipe, tmp_path / "run", out, Engine.INLINE)
        stores.append(open_store(out))
    first = stores[0]
    for other in stores[1:]:
        for array in ("leaves", "content", "label"):
            assert np.array_equal(getattr(first, array)[:], getattr(other, array)[:])


def test_names_of_classes(folder: FolderSource, tmp_path: Path) -> None:
    """Names are kept where there are some; numbers name themselves."""
    found = {name: source.classes for name, source in everywhere(folder, tmp_path).items()}
    named = {name for name, classes in found.items() if classes == ["ant", "bee"]}
    assert named == {"named tar", "csv", "parquet", "arrow stream", "arrow file"}
    assert found["tar"] == found["jsonl"] == ["0", "1"]


def test_images_without_labels_have_none(folder: FolderSource, tmp_path: Path) -> None:
    """No label anywhere means -1 and no classes, for unconditional use."""
    write_shards(folder, tmp_path / "shards", label="none")
    listed = write_list(folder, tmp_path / "list.jsonl", [None] * 6)
    for source in (TarSource(tmp_path / "shards"), ManifestSource(listed)):
        assert source.classes == []
        assert {row.label for row in source.rows} == {-1}


def test_a_changed_source_has_another_fingerprint(folder: FolderSource, tmp_path: Path) -> None:
    """A list notices a changed file, a shard its own; a member that moved is an error."""
    sources = everywhere(folder, tmp_path)
    before = {name: sources[name].fingerprint() for name in ("tar", "csv")}
    (tmp_path / "images" / folder.rows[0].key).write_bytes(b"shorter")
    keys = [row.key for row in sources["tar"].rows]
    with tarfile.open(tmp_path / "shards" / "part-000.tar", "w") as shard:
        add_member(shard, "other.png", b"x" * 2000)
    assert ManifestSource(tmp_path / "list.csv").fingerprint() != before["csv"]
    assert TarSource(tmp_path / "shards").fingerprint() != before["tar"]
    assert all(isinstance(data, OSError) for data in sources["tar"].read(keys[:4]))
