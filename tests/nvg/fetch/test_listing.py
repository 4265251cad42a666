"""Lists of files: what is written is read, and what leads out of a folder is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from nvg.errors import InputError
from nvg.fetch.listing import FILES, Entry, list_bytes, read_list, version_of


def test_a_list_names_every_file_with_its_checksum(tmp_path: Path) -> None:
    """Those of inner folders too, but no list, which would have to name itself."""
    for path, data in {
        "a.txt": b"one",
        "inner/b.bin": b"",
        FILES: b"{}",
        f"inner/{FILES}": b"",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert read_list(list_bytes(tmp_path), "it") == [
        Entry("a.txt", 3, hashlib.sha256(b"one").hexdigest()),
        Entry("inner/b.bin", 0, hashlib.sha256(b"").hexdigest()),
    ]


@pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../../b", "a\\b", "c:/a", ""])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    """Whoever serves a list does not choose where files are written."""
    with pytest.raises(InputError, match=r"^it is no list .*leads out"):
        read_list(_list({"path": path, "bytes": 1, "sha256": "0" * 64}), "it")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html>", "no list of files"),
        (b"[]", "no list of files"),
        (b'{"format": "other", "version": 1, "files": []}', "no list of files"),
        (b'{"format": "nvg-files", "version": 2, "files": []}', "later version"),
        (b'{"format": "nvg-files", "version": 1, "files": [{"path": "a"}]}', "no list of files"),
        (b'{"format": "nvg-files", "version": 1e400, "files": []}', "it is not JSON"),
        (b'{"format": "nvg-files", "version": true, "files": []}', "has no version, or no files"),
        (b'{"format": "nvg-files", "version": 1, "files": {"a": 1}}', "has no version, or no fi"),
        (b'{"format": "nvg-files", "version": 1, "files": [[]]}', "the path None is that of no"),
        (b'{"format": "nvg-files", "version": 1, "files": [{"path": "a\\n"}]}', r"path 'a.n' is"),
        (b'{"format": "nvg-files", "version": 1, "files": []}' + b" " * (1 << 20), "too long"),
    ],
)
def test_another_file_is_refused(data: bytes, said: str) -> None:
    """In one line that names it."""
    with pytest.raises(InputError, match=f"^it is .*{said}"):
        read_list(data, "it")


@pytest.mark.parametrize("size", [-1, 1.5, True, "7", 1 << 60, None])
def test_a_size_is_a_number_of_bytes(size: object) -> None:
    """And a checksum 64 digits."""
    with pytest.raises(InputError, match="checksum or size of 'a' is none"):
        read_list(_list({"path": "a", "bytes": size, "sha256": "0" * 64}), "it")
    with pytest.raises(InputError, match="checksum or size of 'a' is none"):
        read_list(_list({"path": "a", "bytes": 1, "sha256": "x" * 64}), "it")


def test_a_version_is_of_the_content() -> None:
    """Not of the order; a checksum counts more than the storage's tag."""
    one, other = Entry("a", 1, "x"), Entry("b", 1, "", "y")
    assert version_of([one, other]) == version_of([other, one])
    assert version_of([one]) == version_of([Entry("a", 1, "x", "tag")])
    assert len({version_of([e]) for e in (one, other, Entry("a", 2, "x"), Entry("a", 1, "z"))}) == 4


def _list(*files: dict[str, Any]) -> bytes:
    return json.dumps({"format": "nvg-files", "version": 1, "files": files}).encode()
