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


def test_a_file_that_is_no_row_is_counted(tmp_path: Path) -> None:
    """By its reason; directories named like images are none."""
    (keys := write_image_folder(tmp_path, ["a"], 2)).sort()
    names = ["a/notes.txt", "a/archive.jpg.zip", "a/b.zip", "a/noext", "loose.png", "read.me"]
    for name in [*names, "a/._000.png", "a/Thumbs.db", ".DS_Store", "__MACOSX/a/000.png"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "a" / "folder.png").mkdir()
    source = FolderSource(tmp_path)
    assert [row.key for row in source.rows] == keys
    assert source.left_out == {
        "of an unknown suffix (.txt)": 1,
        "of an unknown suffix (.zip)": 2,
        "of an unknown suffix (.me)": 1,
        "without suffix, and no image": 1,
        "outside a class folder": 1,
        "hidden, or left by a system": 4,
    }


def test_every_usual_suffix_and_none_is_an_image(tmp_path: Path) -> None:
    """Of any case; a name without suffix by its first bytes."""
    write_image_folder(tmp_path, ["a"], 1)
    data = (tmp_path / "a" / "000.png").read_bytes()
    names = ["1.JPG", "2.jfif", "3.jpe", "4.avif", "5.jp2", "6.WebP", "noext", "7.tiff"]
    for name in names:
        (tmp_path / "a" / name).write_bytes(data)
    source = FolderSource(tmp_path)
    assert {row.key for row in source.rows} == {f"a/{name}" for name in ("000.png", *names)}
    assert source.left_out == {}


@pytest.mark.parametrize("junk", [".ipynb_checkpoints", "__MACOSX", "@eaDir"])
def test_what_a_system_leaves_is_no_class(tmp_path: Path, junk: str) -> None:
    """Beside classes no id moves; beside flat images there are none."""
    write_image_folder(tmp_path / "classes", ["ant", junk, "zoo"], 1)
    source = FolderSource(tmp_path / "classes")
    assert source.classes == ["ant", "zoo"]
    assert [row.label for row in source.rows] == [0, 1]
    keys = write_image_folder(tmp_path / "flat", [junk, "."], 3)[:3]
    source = FolderSource(tmp_path / "flat")
    assert source.classes == []
    assert [row.label for row in source.rows] == [-1] * len(keys)
    assert source.left_out == {"hidden, or left by a system": 3}


def test_flat_images_beside_a_class_are_counted(tmp_path: Path) -> None:
    """30 of them, and 3 in a folder: the three are the rows."""
    write_image_folder(tmp_path, [".", "extra"], 3)
    source = FolderSource(tmp_path)
    assert source.classes == ["extra"]
    assert source.left_out == {"outside a class folder": 3}


def test_a_folder_without_an_image_is_no_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, whether it is empty or holds other files."""
    write_image_folder(tmp_path, ["a", "c"], 1)
    (tmp_path / "b").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("x")
    source = FolderSource(tmp_path)
    assert source.classes == ["a", "c"]
    assert [row.label for row in source.rows] == [0, 1]
    assert "no class, since they hold no image: b, d" in caplog.text


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
