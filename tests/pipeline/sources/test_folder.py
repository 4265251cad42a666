"""Image folders: the same rows every time, and errors that name the path."""

import os
from pathlib import Path

import pytest

from pipeline.recipe import SourceKind
from pipeline.sources import (
    FolderSource,
    Row,
    SourceError,
)
from tests.makers import write_image_folder
from tests.pipeline.sources.makers import opened


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


def test_a_folder_without_directories_has_no_classes(tmp_path: Path) -> None:
    """As ImageNet's validation images come: every label is -1."""
    for name in ("b.png", "a.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    source = FolderSource(tmp_path)
    assert source.classes == []
    assert source.rows == [Row("a.jpg", -1), Row("b.png", -1)]


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
