"""A run is fetched once, checked, renewed when it changes, and used where the network is gone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nvg.errors import InputError, WorkError
from nvg.fetch import Use, fetched, named
from nvg.fetch.cache import FETCHED, cache_folder
from nvg.fetch.listing import FILES, list_bytes
from nvg.files import is_url
from tests.makers import files_below
from tests.nvg.fetch.makers import FileServer
from tests.processes import ROOT


def publish(folder: Path, **files: bytes) -> None:
    """Files by stem, as `nvgctl pack` writes them, with their list."""
    for name, data in files.items():
        (folder / f"{name}.safetensors").write_bytes(data)
    (folder / FILES).write_bytes(list_bytes(folder))


def test_what_is_on_this_machine_stays_there(tmp_path: Path) -> None:
    """A path, and a file:// URL."""
    for place in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        assert not is_url(place)
        assert fetched(place) == tmp_path
    assert named(tmp_path) == str(tmp_path)
    assert named(cache_folder() / FETCHED / "a" / "b") == str(cache_folder() / FETCHED / "a" / "b")


def test_a_run_is_fetched_once(server: FileServer, folder: Path, cache: Path) -> None:
    """The second use asks for the list alone; no part or list is left in the copy."""
    publish(folder, a=b"1" * 1000, b=b"2")
    first = fetched(server.url)
    assert first.is_relative_to(cache)
    assert files_below(first) == {"a.safetensors": b"1" * 1000, "b.safetensors": b"2"}
    assert named(first) == server.url
    assert named(first / "checkpoints") == f"{server.url}/checkpoints"
    server.asked.clear()
    assert fetched(server.url) == first
    assert server.asked == [f"GET /{FILES}"]


def test_only_what_is_needed_is_fetched(server: FileServer, folder: Path) -> None:
    """The rest is added when another command needs it."""
    publish(folder, content=b"1", structure=b"2", other=b"3")
    first = fetched(server.url, Use.TOKENIZER)
    assert set(files_below(first)) == {"other.safetensors"}
    assert fetched(server.url) == first
    assert len(files_below(first)) == 3


def test_another_version_is_another_folder(server: FileServer, folder: Path) -> None:
    """A process that reads the old one goes on undisturbed."""
    publish(folder, a=b"old")
    old = fetched(server.url)
    publish(folder, a=b"new")
    new = fetched(server.url)
    assert (old / "a.safetensors").read_bytes() == b"old"
    assert (new / "a.safetensors").read_bytes() == b"new"


def test_a_file_of_another_size_in_the_cache_is_fetched_again(
    server: FileServer, folder: Path
) -> None:
    """What a full disk or a user cut short."""
    publish(folder, a=b"12345")
    path = fetched(server.url) / "a.safetensors"
    path.write_bytes(b"1")
    assert (fetched(server.url) / "a.safetensors").read_bytes() == b"12345"


def test_a_file_is_renewed_by_its_tag(server: FileServer, folder: Path) -> None:
    """A weights file alone has no list: the server's ETag tells another content of equal size."""
    file = folder / "w.pth"
    file.write_bytes(b"old")
    first = fetched(f"{server.url}/w.pth")
    assert (first.name, first.read_bytes()) == ("w.pth", b"old")
    assert fetched(f"{server.url}/w.pth") == first
    assert named(first) == f"{server.url}/w.pth"
    file.write_bytes(b"new")
    os.utime(file, (1, 1))
    assert fetched(f"{server.url}/w.pth").read_bytes() == b"new"
    with pytest.raises(InputError, match=FILES):
        fetched(f"{server.url}/download")
    (folder / "download").write_bytes(b"any")
    assert fetched(f"{server.url}/download?id=1", Use.FILE).read_bytes() == b"any"


def test_without_network_the_copy_is_used(
    server: FileServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And said; without a whole copy it is an error."""
    publish(folder, a=b"1", content=b"2")
    first = fetched(server.url, Use.TOKENIZER)
    server.status[f"/{FILES}"] = 503
    assert fetched(server.url, Use.TOKENIZER) == first
    assert "is used" in caplog.text
    with pytest.raises(WorkError, match="cannot be read: 503"):
        fetched(server.url)


def test_a_folder_that_cannot_be_written_is_named(
    server: FileServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that moves it."""
    publish(folder, a=b"1")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NVG_CACHE", str(tmp_path / "file"))
    with pytest.raises(WorkError, match=r"file/fetched/.* set NVG_CACHE"):
        fetched(server.url)


def test_the_cache_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVG_CACHE, or nvg/ in the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("NVG_CACHE", raising=False)
    assert cache_folder() == Path("/x/nvg")
    monkeypatch.setenv("NVG_CACHE", "~/y")
    assert cache_folder() == Path.home() / "y"


@pytest.mark.thorough
def test_several_processes_fetch_once(server: FileServer, folder: Path) -> None:
    """One does, the others wait and find the files."""
    publish(folder, a=b"1" * (1 << 20))
    code = f"from nvg.fetch import fetched; print(fetched({server.url!r}))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(found) == 1
    assert server.asked.count("GET /a.safetensors") == 1
