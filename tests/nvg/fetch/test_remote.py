"""What is at a URL, and what is said of one that is of no use."""

import sys
from pathlib import Path

import fsspec
import pytest

from nvg.errors import InputError
from nvg.fetch.listing import FILES, Entry, list_bytes
from nvg.fetch.remote import Remote
from tests.nvg.fetch.makers import FileServer


def test_a_list_says_what_a_folder_has(server: FileServer, folder: Path) -> None:
    """Behind https, which cannot list one."""
    (folder / "run").mkdir()
    (folder / "run/a.toml").write_bytes(b"a")
    remote = Remote(f"{server.url}/run/")
    with pytest.raises(InputError, match=rf"/run has no {FILES}.*nvgctl pack"):
        remote.folder_entries()
    (folder / "run" / FILES).write_bytes(list_bytes(folder / "run"))
    assert [entry.path for entry in remote.folder_entries()] == ["a.toml"]


def test_storage_that_lists_needs_no_list() -> None:
    """Of a run as it lies: weights and settings, with its autoencoder, without its checkpoints."""
    fs = fsspec.filesystem("memory")
    wanted = [
        "/r/autoencoder/a.safetensors",
        "/r/classes.json",
        "/r/config.toml",
        "/r/w.safetensors",
    ]
    for path in (
        *wanted,
        "/r/samples/a.json",
        "/r/metrics.jsonl",
        "/r/checkpoints/x/w.safetensors",
    ):
        fs.pipe_file(path, b"1")
    try:
        found = Remote("memory://r").folder_entries()
        assert sorted(f"/r/{entry.path}" for entry in found) == wanted
        assert all(entry.bytes == 1 for entry in found)
        with pytest.raises(InputError, match="there is no run at memory://r/samples/none"):
            Remote("memory://r/samples/none").folder_entries()
    finally:
        fs.rm("/r", recursive=True)


def test_a_file_has_the_name_before_the_question_mark(server: FileServer, folder: Path) -> None:
    """As download links have it; its size and tag are what the server says."""
    (folder / "w one.safetensors").write_bytes(b"123")
    remote = Remote(f"{server.url}/w%20one.safetensors?download=true")
    assert (remote.name, remote.is_weights_file) == ("w one.safetensors", True)
    entry = remote.file_entry()
    assert (entry.bytes, entry.sha256, bool(entry.tag)) == (3, "", True)
    assert not Remote(f"{server.url}/run-v1.5").is_weights_file


def test_every_fault_is_one_line(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there, no access, an unknown protocol, a package that is not installed."""
    server.status["/secret.pth"] = 403
    with pytest.raises(InputError, match=r"^there is nothing at http.*/no\.pth$"):
        Remote(f"{server.url}/no.pth").file_entry()
    with pytest.raises(InputError, match=r"secret\.pth may not be read: .*credentials"):
        Remote(f"{server.url}/secret.pth").file_entry()
    with pytest.raises(
        InputError, match=r"^nope://a is no URL that can be read: Protocol not known"
    ):
        Remote("nope://a")
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"^s3://a/b needs a package: pip install -e '\.\[s3\]'$"):
        Remote("s3://a/b")


def test_hugging_face_says_the_checksum_of_large_files() -> None:
    """Its `lfs` is what a download is checked against; small files have the id of their blob."""
    from nvg.fetch.remote import _entry

    large = {"size": 5, "lfs": {"sha256": "ab" * 32}, "blob_id": "1"}
    assert _entry("w", large) == Entry("w", 5, "ab" * 32, "1")
    assert _entry("w", {"size": 5, "lfs": None, "blob_id": "1"}) == Entry("w", 5, "", "1")
