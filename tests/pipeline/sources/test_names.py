"""Names and first bytes of files: images, junk, and the line that counts what is left out."""

from pathlib import PurePosixPath

import pytest

from pipeline.sources.names import (
    JUNK,
    SUFFIXES,
    left_out_lines,
    sample_name,
    starts_an_image,
    why_no_image,
)
from tests.pipeline.images.makers import image_bytes, picture


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a/b.JPG", ""),
        ("a/b", ""),
        ("a.b/c.v0.png", ""),
        ("a/._b.jpg", JUNK),
        ("a/Thumbs.db", JUNK),
        ("__MACOSX/a/b.jpg", JUNK),
        (".ipynb_checkpoints/b.png", JUNK),
        ("a/b.HEIC", "of an unknown suffix (.heic)"),
        ("a/b.jpg.zip", "of an unknown suffix (.zip)"),
    ],
)
def test_a_name_tells_an_image(key: str, reason: str) -> None:
    """Whatever the case of its suffix, wherever it lies."""
    assert why_no_image(key) == reason


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "jpeg2000"])
def test_first_bytes_tell_an_image(kind: str) -> None:
    """Of every format that is decoded."""
    assert starts_an_image(image_bytes(picture(), kind)[:16])


@pytest.mark.parametrize("data", [b"", b"B", b"BM is a text", b"#!/bin/sh", b"{}", b"RIFF....WAVE"])
def test_other_first_bytes_tell_none(data: bytes) -> None:
    """Texts and sounds."""
    assert not starts_an_image(data)


def test_the_line_has_the_most_frequent_reasons() -> None:
    """In order, the rest together; nothing where nothing is left out."""
    assert left_out_lines({}) == []
    assert left_out_lines({"of one kind": 1}) == ["left out: 1 file: 1 of one kind"]
    many = {f"kind {n}": n for n in range(1, 9)}
    assert left_out_lines(many) == [
        "left out: 36 files: 8 kind 8, 7 kind 7, 6 kind 6, 5 kind 5, 4 kind 4, 3 kind 3, "
        "3 for other reasons"
    ]


def test_suffixes_are_lower_case() -> None:
    """They are compared with lowered ones."""
    assert {suffix.lower() for suffix in SUFFIXES} == SUFFIXES


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/b.v0.png", "a/b"), ("b.png", "b"), ("a.x/b", "a.x/b"), ("a/.b.png", "a/.b.png")],
)
def test_a_sample_is_called_up_to_the_first_dot(path: str, name: str) -> None:
    """Of the last part of the path; a hidden file has nothing before its dot."""
    assert sample_name(PurePosixPath(path)) == name
