"""Tar shards: what cannot be used is named."""

import pickle
import tarfile
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from pipeline.sources import (
    FolderSource,
    Place,
    Rows,
    SourceError,
    TarSource,
    webdataset,
)
from pipeline.sources.base import BadImageError
from pipeline.sources.counts import Counts
from pipeline.sources.rows import PartListing
from pipeline.sources.splits import Part
from pipeline.sources.webdataset import _Shards
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


def test_a_shard_is_opened_once_a_batch(
    folder: FolderSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its members are mixed with those of other shards."""
    write_shards(folder, tmp_path / "shards", per_shard=3)
    source, opened = TarSource(tmp_path / "shards"), list[str]()
    keys = [source.rows[n].key for n in (5, 0, 4, 1, 3, 2)]
    open_shard = Place.open

    def note(place: Place) -> BinaryIO:
        opened.append(place.name)
        return open_shard(place)

    monkeypatch.setattr(Place, "open", note)
    expected = [data for n in (5, 0, 4, 1, 3, 2) for data in folder.read([folder.rows[n].key])]
    assert list(source.read(keys)) == expected
    assert sorted(opened) == ["part-000.tar", "part-003.tar"]


def test_a_lost_shard_costs_its_own_images(folder: FolderSource, tmp_path: Path) -> None:
    """Each is an error in its place, those of other shards are read."""
    write_shards(folder, tmp_path / "shards", per_shard=3)
    source = TarSource(tmp_path / "shards")
    keys = [source.rows[n].key for n in (5, 0, 4, 1)]
    (tmp_path / "shards" / "part-000.tar").unlink()
    found = list(source.read(keys))
    assert [isinstance(each, OSError) for each in found] == [False, True, False, True]


def test_a_label_is_found_by_either_name(tmp_path: Path) -> None:
    """WebDataset's up to the first dot, and the whole name but for the suffix."""
    names = ["scan.v0.png", "scan.v1.png", "plain.left.png", "plain.png", "none.png"]
    labels = {"scan.v0.cls": "b", "scan.v1.json": '{"label": "c"}', "plain.cls": "a"}
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name, text in labels.items():
            add_member(shard, name, text.encode())
        for name in names:
            add_member(shard, name, b"x")
    source = TarSource(tmp_path / "a.tar")
    assert source.classes == ["a", "b", "c"]
    assert [row.label for row in source.rows] == [1, 2, 0, 0, -1]


def test_a_member_that_is_no_image_is_counted(folder: FolderSource, tmp_path: Path) -> None:
    """Captions, resource forks; a name without suffix is an image by its first bytes."""
    (data,) = folder.read([folder.rows[0].key])
    assert isinstance(data, bytes)
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name in ("a.png", "b", "c", "._a.png", "a.txt", "d.txt", "__MACOSX/a.png"):
            add_member(shard, name, data if name in ("a.png", "b") else b"x")
    source = TarSource(tmp_path / "a.tar")
    assert [row.key.rpartition(":")[2] for row in source.rows] == ["a.png", "b"]
    assert source.left_out == {
        "hidden, or left by a system": 2,
        "of an unknown suffix (.txt)": 2,
        "without suffix, and no image": 1,
    }


def test_a_shard_may_have_a_colon_in_its_name(folder: FolderSource, tmp_path: Path) -> None:
    """Its keys find their images, beside those of a shard that has none."""
    write_shards(folder, tmp_path / "shards")
    first, second, *_ = sorted((tmp_path / "shards").iterdir())
    first.rename(first.with_name("a:1.tar"))
    second.rename(second.with_name("a:1:b.tar"))
    source = TarSource(tmp_path / "shards")
    wanted = [d for d in folder.read([row.key for row in folder.rows]) if isinstance(d, bytes)]
    read = source.read([row.key for row in source.rows])
    assert sorted(data for data in read if isinstance(data, bytes)) == sorted(wanted)


def test_a_member_that_claims_any_size_is_no_image(tmp_path: Path) -> None:
    """A sparse one takes a header to say 100 GB; the images beside it are read."""
    claim = tarfile.TarInfo("b.png")
    claim.type, claim.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(claim.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)
    header[483:495] = b"\x80" + (10**11).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 256)
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        add_member(shard, "a.png", b"one")
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:1024] + bytes(header) + whole[:1024] + bytes(1024))
    source = TarSource(tmp_path / "a.tar")
    first, claimed, last = source.read([row.key for row in source.rows])
    assert (first, last) == (b"one", b"one")
    assert isinstance(claimed, BadImageError)
    assert "sparse or too large" in str(claimed)


def write_samples(path: Path, far: bool = False, views: int = 1) -> list[tuple[str, int]]:
    """A shard of 23 samples with labels before or after images; paths and labels as they are.

    The label of the first image lies at the end where `far`.
    """
    found, late = list[tuple[str, int]](), list[tuple[str, bytes]]()
    with tarfile.open(path, "w") as shard:
        for n in range(23):
            name = f"{'deep/' * 40 * (n % 3 == 0)}{n:03d}"
            label = (f"{name}.cls", str(n % 5).encode())
            images = [f"{name}.v{view}.png" for view in range(views)]
            members = [(image, b"\x89PNG\r\n\x1a\n%d" % n) for image in images]
            if far and n == 0:
                late.append(label)
            elif n % 7:
                members.insert(n % 2 * len(members), label)
            for member in members:
                add_member(shard, *member)
            if n % 4 == 0:
                add_member(shard, f"{n}.txt", b"beside")
            found += [(image, n % 5 if n % 7 or (far and n == 0) else -1) for image in images]
        for member in late:
            add_member(shard, *member)
    return found


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("far", [False, True])
def test_a_shard_is_listed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, far: bool, views: int
) -> None:
    """Of whole samples; of one, where a label lies far from its image. The same rows always."""
    wanted = write_samples(tmp_path / "a.tar", far, views)
    whole = [(row.key, row.label) for row in TarSource(tmp_path).rows]
    assert [(key.split(":")[2], label) for key, label in whole] == wanted
    monkeypatch.setattr(webdataset, "PART_ROWS", 5)
    source = TarSource(tmp_path)
    assert isinstance(source.rows, Rows)
    listing = source.rows.listing
    assert isinstance(listing, PartListing)
    sizes = np.diff(listing.ends, prepend=0).tolist()
    parts = [5] * 4 + [3] if views == 1 else [6] * 11 + [3]
    assert sizes == ([23 * views] if far else parts)
    assert [(row.key, row.label) for row in source.rows] == whole
    stops = listing.ends.tolist()
    for part, (size, stop) in enumerate(zip(sizes, stops, strict=True)):
        assert listing.part(part, 0, size) == whole[stop - size : stop]
    again, reads, following = TarSource(tmp_path), list[int](), tarfile.TarFile.next

    def note(shard: tarfile.TarFile) -> tarfile.TarInfo | None:
        reads.append(1)
        return following(shard)

    monkeypatch.setattr(tarfile.TarFile, "next", note)
    assert again.rows[len(whole) // 2].label == whole[len(whole) // 2][1]
    assert (len(reads) > 23) == far


def test_a_plan_over_shards_is_small() -> None:
    """10 million images in 1,000 shards: at most 2 kB a shard, and 64 bytes a part of one."""
    parts = 40
    tracemalloc.start()
    try:
        shards = [Part(f"{n}.tar", Place(f"/web/shards-of-images/{n}.tar")) for n in range(1000)]
        places = [value for n in range(1000) for part in range(parts) for value in (n, part << 24)]
        sizes = [256] * (1000 * parts)
        counts = Counts(
            rows=tuple(sizes), classes=("a",), by_number=False, places=tuple(places), fingerprint=""
        )
        rows = Rows.split(_Shards(shards, counts), [False] * len(sizes), sizes)
        del counts, places, sizes
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(rows) == 10_240_000
    assert kept < 1000 * (2000 + 64 * parts)
    assert len(pickle.dumps(rows)) < 1000 * (2000 + 64 * parts)
