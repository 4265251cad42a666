"""Which weights of a run are meant, and what of its recipe travels."""

import os
import tomllib
from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.weights import fingerprint
from pipeline.packing.parts import find_parts, size_of, without_folders


def test_an_autoencoder_is_one_file(autoencoder: Path, tmp_path: Path) -> None:
    """The finished weights, or the EMA weights of a checkpoint, which are others."""
    (tmp_path / "a").mkdir()
    find_parts(autoencoder, None).write(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "autoencoder.safetensors",
        "config.toml",
    ]
    (tmp_path / "b").mkdir()
    find_parts(autoencoder, 2).write(tmp_path / "b")
    one, other = (fingerprint(load_autoencoder(tmp_path / name)) for name in "ab")
    assert one == fingerprint(load_autoencoder(autoencoder)) != other
    with pytest.raises(InputError, match=r"no checkpoint of step 3: it has 2$"):
        find_parts(autoencoder, 3)


def test_a_run_that_is_trained_on_is_unfinished(autoencoder: Path) -> None:
    """Its weights are those of its earlier end."""
    config = autoencoder / "config.toml"
    text = config.read_text()
    assert "steps = 4" in text
    config.write_text(text.replace("steps = 4", "steps = 9"))
    (autoencoder / "changes.jsonl").write_text('{"step": 2}')
    os.utime(autoencoder / "autoencoder.safetensors", (1, 1))
    with pytest.raises(InputError, match=r"unfinished, it is at step 2 of 9: .*--checkpoint 2"):
        find_parts(autoencoder, None)
    os.utime(autoencoder / "autoencoder.safetensors")
    assert find_parts(autoencoder, None).step is None
    (autoencoder / "autoencoder.safetensors").unlink()
    with pytest.raises(InputError, match=r"unfinished, it holds no autoencoder\.safetensors"):
        find_parts(autoencoder, None)


def test_folders_of_this_machine_stay_here() -> None:
    """A recipe tells names of files, not where they were."""
    recipe = (
        'note = "a/b"\n[data]\npath = "/home/me/photos/"\n'
        '[a]\nlist = ["~/x/vgg.pth", "C:\\\\w\\\\v.pth", "s3://b/c", 3]\n'
    )
    assert tomllib.loads(without_folders(recipe)) == {
        "note": "a/b",
        "data": {"path": "photos"},
        "a": {"list": ["vgg.pth", "v.pth", "s3://b/c", 3]},
    }


def test_a_size_is_of_all_files(tmp_path: Path) -> None:
    """Below a folder."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"123")
    (tmp_path / "c").write_bytes(b"4")
    assert size_of(tmp_path) == 4
