"""An image whose decoder ends its process, or never ends, is an error row in both engines."""

import os
import signal
from pathlib import Path

import pytest

from nvg.config import dump
from nvg.store import open_store
from pipeline.tokenize.engine import Journal
from pipeline.tokenize.plan import ChunkTask
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.images.makers import image_bytes, picture
from tests.processes import Forked

ROOT = Path(__file__).resolve().parents[3]

# Read by every interpreter that finds it on its path, before anything else: a decoder with a fault.
FAULTY = """
import os, signal
from PIL import Image
sound = Image.open
def faulty(file, *others, **named):
    if b"DEADLY" in file.getvalue():
        os.kill(os.getpid(), signal.SIGSEGV)
    while b"ENDLESS" in file.getvalue():
        pass
    return sound(file, *others, **named)
Image.open = faulty
import pipeline.images.threads as threads
threads.MOST_SECONDS = 1.0
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A recipe over images of which two are more than their decoder can take, and a tokenizer."""
    write_image_folder(tmp_path / "images")
    folder = next(each for each in sorted((tmp_path / "images").iterdir()) if each.is_dir())
    for name in ("DEADLY", "ENDLESS"):
        data = image_bytes(picture(), "png") + name.encode()
        (folder / f"{name.lower()}.png").write_bytes(data)
    dump(tiny_recipe(tmp_path / "images"), tmp_path / "recipe.toml")
    write_autoencoder(tmp_path / "run")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(FAULTY)
    return tmp_path


def tokenize(place: Path, engine: str, *flags: str) -> tuple[int, str]:
    """Exit code and stderr of a pass in a process of its own, whose decoder has the fault."""
    path = os.pathsep.join([str(place / "path"), str(ROOT)])
    verb = ["tokenize", place / "recipe.toml", "--tokenizer", place / "run"]
    verb += ["--out", place / "a.vgs", "--engine", engine, *flags]
    faulty = "tests.pipeline.tokenize.faulty"
    process = Forked(faulty, place / "path" / "sitecustomize.py", *verb, PYTHONPATH=path)
    return process.wait(), process.said()[1]


def errors(place: Path) -> dict[str, str]:
    """The error rows of the finished store, by file name."""
    store = open_store(str(place / "a.vgs"))
    assert (store.finished, store.verify()) == (True, [])
    rows = store.index.to_pylist()
    return {Path(row["key"]).name: row["reason"] for row in rows if row["status"] == "error"}


@pytest.mark.slow
def test_inline_goes_on_after_a_deadly_image(place: Path) -> None:
    """The process dies once; --resume decodes the images of that chunk apart, and ends."""
    code, said = tokenize(place, "inline")
    assert code == -signal.SIGSEGV, said
    code, said = tokenize(place, "inline", "--resume")
    assert code == 0, said
    assert "decoded apart" in said
    found = errors(place)
    assert found.keys() == {"deadly.png", "endless.png"}
    assert found["deadly.png"] == "its decoder ends the process (SIGSEGV)"
    assert found["endless.png"].startswith("takes longer than")
    assert not list(place.glob("*.reading"))


@pytest.mark.ray
@pytest.mark.slow
def test_ray_goes_on_after_a_deadly_image(place: Path) -> None:
    """A worker dies of it once, and is named with its chunk; nothing is to be resumed."""
    code, said = tokenize(place, "ray")
    assert code == 0, said
    assert "lost its worker" in said
    assert "DEADLY" not in said
    found = errors(place)
    assert found.keys() == {"deadly.png", "endless.png"}
    assert found["deadly.png"] == "its decoder ends the process (SIGSEGV)"


def test_the_chunk_that_a_process_died_of_is_decoded_apart(tmp_path: Path) -> None:
    """The next one knows which; what ends without dying leaves no such note, on a disk or a URL."""
    one, other = (ChunkTask(n, 4 * n, ()) for n in (1, 2))
    for store in (str(tmp_path / "a.vgs"), f"memory://{tmp_path.name}/j.vgs"):
        died = Journal(store).__enter__()
        assert [died.begun(task).isolated for task in (one, other)] == [False, False]
        with Journal(store) as journal:
            assert [journal.begun(task).isolated for task in (one, other)] == [False, True]
        with Journal(store) as journal:
            assert not journal.begun(other).isolated
    assert list(tmp_path.iterdir()) == []
