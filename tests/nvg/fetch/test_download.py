"""A file comes whole or not at all, and half a file is gone on with."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nvg.errors import WorkError
from nvg.fetch.download import download
from nvg.fetch.listing import Entry, file_digest
from nvg.fetch.remote import Remote
from tests.nvg.fetch.makers import FileServer

DATA = bytes(range(256)) * 40  # 10,240 bytes


@pytest.fixture
def entry(folder: Path) -> Entry:
    """A served file."""
    (folder / "w.bin").write_bytes(DATA)
    return Entry("w.bin", len(DATA), file_digest(folder / "w.bin"))


def fetch(server: FileServer, entry: Entry, target: Path) -> int:
    """What the bar counted."""
    counted: list[int] = []
    bar = SimpleNamespace(update=counted.append)
    download(Remote(server.url), "w.bin", entry, target, bar)
    return sum(counted)


def test_a_broken_download_goes_on(server: FileServer, entry: Entry, tmp_path: Path) -> None:
    """With the bytes that are missing, by itself."""
    server.cut["/w.bin"] = 4000
    assert fetch(server, entry, tmp_path / "w.bin") == len(DATA)
    assert (tmp_path / "w.bin").read_bytes() == DATA
    assert len([each for each in server.asked if each.startswith("GET /w.bin")]) > 1
    assert not (tmp_path / "w.bin.part").exists()


def test_it_begins_anew_where_only_whole_files_come(
    server: FileServer, entry: Entry, tmp_path: Path
) -> None:
    """A server without ranges."""
    server.knows_ranges = False
    server.cut["/w.bin"] = 4000
    assert fetch(server, entry, tmp_path / "w.bin") == len(DATA)
    assert (tmp_path / "w.bin").read_bytes() == DATA


def test_half_a_file_of_an_earlier_process_is_used(
    server: FileServer, entry: Entry, tmp_path: Path
) -> None:
    """And a damaged half costs one more download, not an error."""
    (tmp_path / "w.bin.part").write_bytes(DATA[:5000])
    assert fetch(server, entry, tmp_path / "w.bin") == len(DATA)
    assert "GET /w.bin" not in server.asked
    (tmp_path / "w.bin.part").write_bytes(b"?" * 5000)
    assert fetch(server, entry, tmp_path / "w.bin") == len(DATA)
    assert (tmp_path / "w.bin").read_bytes() == DATA
    assert server.asked[-1] == "GET /w.bin"


def test_half_of_what_may_have_changed_is_not_used(
    server: FileServer, entry: Entry, tmp_path: Path
) -> None:
    """Without checksum or tag nobody knows what the half belongs to."""
    (tmp_path / "w.bin.part").write_bytes(b"?" * 5000)
    fetch(server, Entry("w.bin", len(DATA)), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(Entry("w.bin", len(DATA), "0" * 64), "checksum"), (Entry("w.bin", 7), "bytes")],
)
def test_another_content_is_refused(
    server: FileServer, entry: Entry, tmp_path: Path, wanted: Entry, said: str
) -> None:
    """By checksum or size; nothing of it stays."""
    with pytest.raises(WorkError, match=rf"w\.bin .*{said}"):
        fetch(server, wanted, tmp_path / "w.bin")
    assert not list(tmp_path.glob("w.bin*"))


def test_a_server_that_fails_keeps_failing(
    server: FileServer, entry: Entry, tmp_path: Path
) -> None:
    """Three attempts, then one line; what came is there for the next command."""
    (tmp_path / "w.bin.part").write_bytes(DATA[:5000])
    server.status["/w.bin"] = 500
    with pytest.raises(WorkError, match=r"w\.bin cannot be read: .*run the command again"):
        fetch(server, entry, tmp_path / "w.bin")
    assert (tmp_path / "w.bin.part").read_bytes() == DATA[:5000]
