"""Sources: the same rows every time, the right bytes for each, and errors that name the path."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.errors import InputError
from pipeline.images.decode import decode
from pipeline.recipe import DataConfig, SourceKind
from pipeline.sources import (
    DigitsSource,
    FolderSource,
    Row,
    Source,
    SourceError,
    open_source,
    split_rows,
)
from tests.makers import write_image_folder


def opened(kind: SourceKind, path: Path | str) -> Source:
    """The source a recipe would open."""
    return open_source(DataConfig(source=kind, path=str(path)))


def test_a_folder_lists_classes_and_images_in_order(tmp_path: Path) -> None:
    """Classes by name, images by path, also from folders within a class; the label is the class."""
    for key in ["b/z.png", "b/deep/er/a.JPG", "a/2.png", "a/10.png", "a/B.Webp", "c d/ü.jpeg"]:
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(key.encode())
    source = opened(SourceKind.FOLDER, tmp_path)
    assert source.classes == ["a", "b", "c d"]
    assert [(row.key, row.label) for row in source.rows] == [
        ("a/10.png", 0),
        ("a/2.png", 0),
        ("a/B.Webp", 0),
        ("b/deep/er/a.JPG", 1),
        ("b/z.png", 1),
        ("c d/ü.jpeg", 2),
    ]
    keys = [row.key for row in source.rows]
    assert list(source.read(keys[::-1])) == [key.encode() for key in keys[::-1]]


def test_a_folder_ignores_what_is_no_image(tmp_path: Path) -> None:
    """Other suffixes, files beside the classes, and directories named like images."""
    (keys := write_image_folder(tmp_path, ["a"], 2)).sort()
    for name in ["a/notes.txt", "a/noext", "a/archive.jpg.zip", "loose.png"]:
        (tmp_path / name).write_text("x")
    (tmp_path / "a" / "folder.png").mkdir()
    assert [row.key for row in FolderSource(tmp_path).rows] == keys


def test_a_class_without_images_keeps_its_number(tmp_path: Path) -> None:
    """Class ids follow the directories, empty or not."""
    write_image_folder(tmp_path, ["a", "c"], 1)
    (tmp_path / "b").mkdir()
    source = FolderSource(tmp_path)
    assert source.classes == ["a", "b", "c"]
    assert [row.label for row in source.rows] == [0, 2]


def test_a_file_that_cannot_be_read_is_an_error_in_its_place(tmp_path: Path) -> None:
    """A dangling link is listed, and its neighbours are read all the same."""
    write_image_folder(tmp_path, ["a"], 2)
    (tmp_path / "a" / "0005.png").symlink_to(tmp_path / "gone.png")
    source = FolderSource(tmp_path)
    parts = list(source.read([row.key for row in source.rows]))
    assert [isinstance(part, OSError) for part in parts] == [False, True, False]
    assert len(source.fingerprint()) == 64


def test_names_that_are_no_unicode_are_refused(tmp_path: Path) -> None:
    """A file name of undecodable bytes cannot be a key of the index: a SourceError names it."""
    write_image_folder(tmp_path, ["a"], 1)
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\xfe.png")).write_bytes(b"x")
    with pytest.raises(SourceError, match=r"a/.*\.png"):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    ("kind", "make", "words"),
    [
        (SourceKind.FOLDER, "nothing", "does not exist"),
        (SourceKind.PARQUET, "nothing", "does not exist"),
        (SourceKind.FOLDER, "empty", "holds no images"),
        (SourceKind.PARQUET, "empty", "parquet"),
        (SourceKind.FOLDER, "dirs", "<class>/<image>"),
        (SourceKind.ARROW, "empty", "arrow"),
        (SourceKind.ARROW, "file", "columns image, label"),
        (SourceKind.WEBDATASET, "empty", "tar"),
        (SourceKind.WEBDATASET, "file", "uncompressed tar"),
        (SourceKind.MANIFEST, "empty", "no list of images"),
        (SourceKind.MANIFEST, "file", r"\.csv or \.jsonl"),
        (SourceKind.FOLDER, "file", "not a directory"),
        (SourceKind.PARQUET, "file", "columns image, label"),
        (SourceKind.PARQUET, "text", "columns image, label"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(
    tmp_path: Path, kind: SourceKind, make: str, words: str
) -> None:
    """One line with the path and what is missing there."""
    path = tmp_path / "set"
    if make in ("empty", "dirs", "text"):
        path.mkdir()
    if make == "dirs":
        (path / "ant").mkdir()
    if make == "file":
        path.write_text("text")
    if make == "text":
        (path / "a.parquet").write_text("text")
    with pytest.raises(SourceError, match=words) as caught:
        opened(kind, path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_without_directories_has_no_classes(tmp_path: Path) -> None:
    """As ImageNet's validation images come: every label is -1."""
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    source = FolderSource(tmp_path)
    assert source.classes == []
    assert source.rows == [Row("a.jpg", -1), Row("b.png", -1)]


@pytest.mark.parametrize("kind", [kind for kind in SourceKind if kind is not SourceKind.DIGITS])
def test_a_source_needs_its_path(kind: SourceKind) -> None:
    """Without data.path the error names the key."""
    with pytest.raises(InputError, match=r"data\.path"):
        open_source(DataConfig(source=kind))


def test_digits_are_the_bundled_scans() -> None:
    """1,797 grey 8x8 images of ten classes, whose PNG holds levels 0..16 as 0..255."""
    from sklearn.datasets import load_digits

    source = opened(SourceKind.DIGITS, "")
    assert source.classes == [str(n) for n in range(10)]
    assert [row.label for row in source.rows] == load_digits().target.tolist()
    assert len({row.key for row in source.rows}) == 1797
    (data,) = source.read([source.rows[1000].key])
    assert isinstance(data, bytes)
    levels = np.asarray(decode(data)).astype(float)
    assert np.abs(levels - load_digits().images[1000][:, :, None] * 255 / 16).max() <= 0.5


def test_digits_have_a_fingerprint_of_their_own() -> None:
    """The same on every call."""
    assert DigitsSource().fingerprint() == DigitsSource().fingerprint()


@pytest.mark.parametrize("change", ["add", "remove", "rename", "grow", "move"])
def test_a_changed_folder_has_another_fingerprint(tmp_path: Path, change: str) -> None:
    """Adding, removing, renaming, resizing or reclassifying one image is noticed."""
    write_image_folder(tmp_path, ["a", "b"], 2)
    before = FolderSource(tmp_path).fingerprint()
    assert FolderSource(tmp_path).fingerprint() == before
    file = tmp_path / "a" / "000.png"
    if change == "add":
        (tmp_path / "a" / "new.png").write_bytes(file.read_bytes())
    elif change == "remove":
        file.unlink()
    elif change == "rename":
        file.rename(tmp_path / "a" / "other.png")
    elif change == "grow":
        file.write_bytes(file.read_bytes() + b"x")
    else:
        file.rename(tmp_path / "b" / "zzz.png")
    assert FolderSource(tmp_path).fingerprint() != before


def test_a_folder_elsewhere_has_the_same_fingerprint(tmp_path: Path) -> None:
    """What counts is what it holds, not where it lies."""
    for name in ("one", "two"):
        write_image_folder(tmp_path / name)
    assert FolderSource(tmp_path / "one").fingerprint() == (
        FolderSource(tmp_path / "two").fingerprint()
    )


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(2, 300))
def test_a_split_parts_the_rows(data: st.DataObject, count: int) -> None:
    """Held out are exactly as many as asked for; both parts keep the order and share no row."""
    heldout = data.draw(st.integers(0, count // 2))
    rows = [Row(str(n), 0) for n in range(count)]
    train, kept = split_rows(rows, heldout)
    assert (len(train), len(kept)) == (count - heldout, heldout)
    assert sorted(train + kept, key=rows.index) == rows
    assert [part == sorted(part, key=rows.index) for part in (train, kept)] == [True, True]
    assert split_rows(rows, heldout) == (train, kept)


def test_a_split_is_spread_over_the_rows() -> None:
    """Every class of a sorted list is held out in its share: here each tenth row."""
    rows = [Row(str(n), n // 100) for n in range(1000)]
    _, kept = split_rows(rows, 100)
    assert [sum(row.label == label for row in kept) for label in range(10)] == [10] * 10


@pytest.mark.parametrize("heldout", [-1, 6, 11])
def test_a_split_leaves_most_rows_to_train_on(heldout: int) -> None:
    """A negative number, or more than half of ten rows, is refused by the name of the key."""
    with pytest.raises(SourceError, match=rf"data\.heldout {heldout}\b.*0\.\.5"):
        split_rows([Row(str(n), 0) for n in range(10)], heldout)
