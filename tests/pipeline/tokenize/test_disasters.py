"""What may happen to a pass on one machine: each time the store ends as if nothing had happened."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from nvg.config import dump
from nvg.store import open_store, store_exists
from pipeline.recipe import Recipe, TokenizeConfig
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.pipeline.tokenize.full_disk import NOT_ALLOWED
from tests.processes import Forked

pytestmark = pytest.mark.thorough

IMAGES = 60


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> tuple[Recipe, Path]:
    """A recipe over 60 images in chunks of one, and the folder of recipe.toml and calm.vgs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_image_folder(folder / "images", per_class=IMAGES // 3)
    recipe = tiny_recipe(folder / "images", tokenize=TokenizeConfig(chunk_rows=1))
    dump(recipe, folder / "recipe.toml")
    tokenize_dataset(recipe, tokenizer, str(folder / "calm.vgs"))
    return recipe, folder


@pytest.fixture
def recipe(undisturbed: tuple[Recipe, Path], tmp_path: Path) -> Recipe:
    """The recipe, with copies of its file and of the undisturbed store in tmp_path."""
    recipe, folder = undisturbed
    shutil.copy(folder / "recipe.toml", tmp_path)
    shutil.copytree(folder / "calm.vgs", tmp_path / "calm.vgs")
    return recipe


def command(folder: Path, tokenizer: Path, out: Path, *flags: str) -> list[object]:
    """The words of a pass in one process."""
    verb = ["tokenize", folder / "recipe.toml", "--tokenizer", tokenizer, "--out", out]
    return [*verb, "--engine", "inline", *flags]


@pytest.mark.slow
@pytest.mark.parametrize("size", [60, 200])
def test_a_full_disk(recipe: Recipe, tokenizer: Path, tmp_path: Path, size: int) -> None:
    """A small file system of its own runs full: one line, exit 1; with room, --resume completes."""
    disk, kept = tmp_path / "disk", tmp_path / "kept.vgs"
    disk.mkdir()
    verb = command(tmp_path, tokenizer, disk / "a.vgs")
    process = Forked("tests.pipeline.tokenize.full_disk", size, disk, kept, *verb)
    code, (out, errors) = process.wait(), process.said()
    if code == NOT_ALLOWED:
        pytest.skip("this system lets no user mount a file system of their own")
    codes = [line for line in out.splitlines() if " exit " in line]
    assert codes == ["first exit 1", "second exit 0"], errors
    line = next(line for line in errors.splitlines() if line.startswith("nvgctl:"))
    assert "no space is left" in line
    assert "--resume" in line
    assert files_below(kept) == files_below(tmp_path / "calm.vgs")


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every look at the time of day is up to a year off, forwards or back; the looks taken."""
    real, looks, randomness = time.time, list[float](), random.Random(0)

    def jumping() -> float:
        looks.append(real() + randomness.uniform(-3e7, 3e7))
        return looks[-1]

    monkeypatch.setattr(time, "time", jumping)
    return looks


def test_a_clock_that_jumps(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, jumping_clock: list[float]
) -> None:
    """Nothing is decided by the time of day, nor by the times of files."""
    out = tmp_path / "a.vgs"
    tokenize_dataset(recipe, tokenizer, str(out))
    for number, file in enumerate(sorted(out.rglob("*"))):
        at = time.time() if number % 2 else 0.0
        os.utime(file, (at, at))
    (out / "commits" / "00000.json").unlink()
    tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, PassMode.RESUME)
    assert jumping_clock
    assert files_below(out) == files_below(tmp_path / "calm.vgs")


@pytest.mark.slow
def test_two_at_once(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """The second is told who writes, whatever its flags, and the first's store is whole."""
    out = tmp_path / "a.vgs"
    first = Forked("cli.app", *command(tmp_path, tokenizer, out))
    while not (store_exists(str(out)) and open_store(str(out)).committed()):
        assert first.returncode is None
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    for flags in ([], ["--resume"], ["--extend"]):
        second = Forked("cli.app", *command(tmp_path, tokenizer, out, *flags))
        assert second.wait() == 2
        assert f"is being written by process {first.pid}" in second.said()[1]
    first.send_signal(signal.SIGCONT)
    assert first.wait() == 0
    assert files_below(out) == files_below(tmp_path / "calm.vgs")


@pytest.mark.parametrize("flip", range(0, 100, 20))
def test_a_flipped_bit_anywhere_in_a_chunk(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, flip: int
) -> None:
    """At any share of its length: verify names the chunk, --resume writes it again."""
    out = tmp_path / "calm.vgs"
    before = files_below(out)
    store = open_store(str(out))
    file, (start, stop) = out / store.chunk_file("leaves", 11), store.chunk_span("leaves", 11)
    assert start is not None
    assert stop is not None
    data = bytearray(file.read_bytes())
    data[start + (stop - start) * flip // 100] ^= 1
    file.write_bytes(data)
    faults = open_store(str(out)).verify()
    assert faults
    assert all(fault.startswith("chunk 11:") for fault in faults)
    report = tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, PassMode.RESUME)
    assert report.work.images == 1
    assert files_below(out) == before


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_bytes(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """SIGKILL in the middle of the pass, then --resume: the same files as from one go."""
    out = tmp_path / "a.vgs"
    process = Forked("cli.app", *command(tmp_path, tokenizer, out))
    while not (out / "staging" / "00000" / "0000003.parquet").exists():
        assert process.returncode is None
        time.sleep(0.002)
    process.kill()
    assert 4 <= len(open_store(str(out)).committed()) < IMAGES
    tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, PassMode.RESUME)
    assert files_below(out) == files_below(tmp_path / "calm.vgs")
