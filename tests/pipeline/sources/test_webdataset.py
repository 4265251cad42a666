"""Tar shards: what cannot be used is named."""

import tarfile
from pathlib import Path

import pytest

from pipeline.sources import (
    FolderSource,
    SourceError,
    TarSource,
)
from tests.pipeline.sources.makers import (
    add_member,
    write_shards,
)


def test_tar_shards_that_cannot_be_used_are_named(folder: FolderSource, tmp_path: Path) -> None:
    """Compressed, cut short, or without images: one line with the shard."""
    write_shards(folder, tmp_path / "shards")
    whole = (tmp_path / "shards" / "part-000.tar").read_bytes()
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as shard:
        add_member(shard, "a.png", b"x")
    with tarfile.open(tmp_path / "texts.tar", "w") as shard:
        add_member(shard, "a.txt", b"x")
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    for name, words in (("packed", "uncompressed"), ("texts", "no images"), ("cut", "cut.tar")):
        with pytest.raises(SourceError, match=words) as caught:
            TarSource(tmp_path / f"{name}.tar")
        assert f"{name}.tar" in str(caught.value)


def test_member_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """An index could not hold them."""
    kind = tarfile.USTAR_FORMAT
    with tarfile.open(tmp_path / "odd.tar", "w", format=kind, encoding="latin-1") as shard:
        add_member(shard, "\xe9t\xe9.png", b"x")
    with pytest.raises(SourceError, match="not UTF-8"):
        TarSource(tmp_path / "odd.tar")
