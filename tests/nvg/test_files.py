"""Atomic writes, locally and on other filesystems."""

import errno
import json
import math
import os
from pathlib import Path

import fsspec
import pytest

from nvg.errors import InputError
from nvg.files import (
    IN_FLIGHT,
    is_there,
    parse_json,
    read_small,
    replacing,
    require_file_place,
    require_regular,
    storage,
    write_atomic,
    write_bytes,
)
from tests.makers import HOSTILE_JSON


def test_a_file_is_written_with_its_parents(tmp_path: Path) -> None:
    """The bytes are written, and missing directories are created."""
    path = tmp_path / "a" / "b" / "file.bin"
    write_atomic(path, b"\x00\xffdata")
    assert path.read_bytes() == b"\x00\xffdata"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """A shorter file leaves nothing of the longer one before."""
    path = tmp_path / "file.bin"
    write_atomic(path, b"long content")
    write_atomic(path, b"short")
    assert path.read_bytes() == b"short"


def test_nothing_else_is_left_behind(tmp_path: Path) -> None:
    """The temporary file is gone afterwards."""
    write_atomic(tmp_path / "file.bin", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """When writing fails, the old bytes stay and no temporary file does."""
    path = tmp_path / "file.bin"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "text is no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_a_failed_rename_keeps_no_temporary(tmp_path: Path) -> None:
    """A directory in the place of the file raises, and nothing is left behind."""
    (tmp_path / "file.bin").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "file.bin", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_a_reader_keeps_the_file_it_opened(tmp_path: Path) -> None:
    """Replacing is a rename: an open old file keeps its bytes."""
    path = tmp_path / "file.bin"
    write_atomic(path, b"old bytes")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old bytes"


@pytest.mark.parametrize("protocol", ["file", "memory"])
def test_bytes_arrive_on_any_filesystem(tmp_path: Path, protocol: str) -> None:
    """write_bytes writes through fsspec, to a disk and to a store in memory."""
    fs, root = fsspec.core.url_to_fs(f"{protocol}://{tmp_path}")
    write_bytes(fs, f"{root}/deep/file.bin", b"data")
    assert fs.cat_file(f"{root}/deep/file.bin") == b"data"


def test_a_local_write_through_fsspec_is_atomic(tmp_path: Path) -> None:
    """On a disk write_bytes replaces the file by renaming, as write_atomic does."""
    fs, root = fsspec.core.url_to_fs(str(tmp_path))
    write_bytes(fs, f"{root}/file.bin", b"old bytes")
    with Path(root, "file.bin").open("rb") as reader:
        write_bytes(fs, f"{root}/file.bin", b"new")
        assert reader.read() == b"old bytes"


def test_a_folder_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    """Under its temporary name until then; what the user keeps as NAME.tmp is not touched."""
    (tmp_path / "out.tmp").write_bytes(b"mine")
    with replacing(tmp_path / "out") as temporary:
        temporary.mkdir()
        (temporary / "a").write_bytes(b"x")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").read_bytes() == b"x"
    assert (tmp_path / "out.tmp").read_bytes() == b"mine"


def test_a_folder_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """An error within goes on to the caller, and neither name is there."""

    def half() -> None:
        with replacing(tmp_path / "out") as temporary:
            temporary.mkdir()
            (temporary / "a").write_bytes(b"x")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        half()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_no_file_can_have_is_refused_before_work(tmp_path: Path) -> None:
    """Directories, URLs, paths below a file, folders that may not be written to."""
    (tmp_path / "file").write_text("x")
    require_file_place(tmp_path / "new" / "a.png")
    require_file_place(tmp_path / "file")
    for path, words in (
        (tmp_path, "is a directory"),
        (Path("s3://bucket/a.png"), "is a URL"),
        (tmp_path / "file" / "a.png", "file is a file"),
        (Path("/proc/1/a.png"), "may not be written to"),
    ):
        with pytest.raises(InputError, match=words):
            require_file_place(path)


def test_only_files_are_read(tmp_path: Path) -> None:
    """A pipe or a device would be read for ever; what is missing is for the reader to say."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link", "gone"):
        require_regular(tmp_path / name)
    for name, said in (
        ("pipe", "pipe is a pipe or a device, not a file"),
        ("/dev/zero", "zero is a pipe or a device, not a file"),
        ("", "is a folder, not a file"),
        ("loop", "'loop' is no file: Too many levels of symbolic links"),
        ("file/below", "'below' is no file: Not a directory"),
        ("x" * 999, "is no file: File name too long"),
    ):
        with pytest.raises(ValueError, match=said):
            require_regular(tmp_path / name)


def test_a_failing_disk_is_not_taken_for_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of the storage, which may pass."""

    def fail(path: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(OSError, match="Input/output"):
        require_regular("a.png")


def test_what_is_configured_of_fsspec_goes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of S3; what is not is bounded."""
    own = {"config_kwargs": {"max_pool_connections": 3}}
    monkeypatch.setitem(fsspec.config.conf, "s3", own)
    storage("memory://a")
    assert own == {"config_kwargs": {"max_pool_connections": 3}, "max_concurrency": 1}
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    storage("memory://a")
    assert fsspec.config.conf["s3"]["config_kwargs"] == {"max_pool_connections": IN_FLIGHT}


def test_what_is_there_is_asked_anew(tmp_path: Path) -> None:
    """A file or a folder, not what an earlier listing said."""
    fs, root = storage(str(tmp_path))
    assert [is_there(fs, f"{root}/{name}") for name in ("", "a.json")] == [True, False]
    (tmp_path / "a.json").touch()
    assert is_there(fs, f"{root}/a.json")


@pytest.mark.parametrize("value", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
def test_json_from_elsewhere_is_plain(value: str) -> None:
    """What could be neither shown nor written back is no JSON, at any place and in one word."""
    for text in (value, f'{{"a": [{value}]}}'):
        for data in (text, text.encode()):
            with pytest.raises(ValueError, match=r"^it is not JSON$"):
                parse_json(data)


def test_sound_json_is_read_as_ever() -> None:
    """Also a mark of the order of bytes, numbers of logs, and texts of whole characters."""
    text = '{"é\\ud83d\\ude00": [1, -0.5, null, true, "x", [], {}]}'
    assert parse_json(b"\xef\xbb\xbf" + text.encode()) == json.loads(text)
    assert math.isnan(parse_json("NaN", finite=False))
    assert parse_json("[" * 60 + "]" * 60)
    with pytest.raises(ValueError, match="not JSON"):
        parse_json(b"\xed\xa0\x80")


def test_nothing_is_written_inside_a_store(tmp_path: Path) -> None:
    """A store at any depth above, through a link too; another program's manifest is none."""
    for name, word in (("a.vgs", "nvg-store"), ("b.vgs", "nvg-store-links"), ("web", "pages")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps({"format": word}))
    (tmp_path / "link").symlink_to(tmp_path / "a.vgs")
    for place in ("a.vgs/sub.vgs", "b.vgs/x/y.png", "link/z"):
        with pytest.raises(InputError, match=r"lies inside the store .*: name a place outside"):
            require_file_place(tmp_path / place)
    require_file_place(tmp_path / "web" / "x.png")
    require_file_place(tmp_path / "c.vgs")
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd" / "manifest.json")
    require_file_place(tmp_path / "odd" / "x.png")


def test_a_small_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    """A sparse file of a terabyte costs nobody's memory, and no pipe is waited for."""
    (tmp_path / "a.json").write_bytes(b"[1]")
    assert read_small(tmp_path / "a.json") == b"[1]"
    with (tmp_path / "a.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"^a\.json is over 1,000 bytes$"):
        read_small(tmp_path / "a.json", 1000)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a pipe"):
        read_small(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "gone")
