"""The Ray engine against the inline one, and a store whose making was cut short."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nvg.errors import WorkError
from nvg.format.base import StoreError
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import Row
from pipeline.tokenize.chunk import ChunkDecoder
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.tokenize.plan import Attempts, ChunkTask, plan_chunks, plan_rows
from pipeline.tokenize.ray_steps import (
    MOST_ATTEMPTS,
    Commit,
    Decode,
    Encode,
    Pool,
    Steps,
    WholeChunk,
    encoder_actors,
    packed,
    unpacked,
)
from tests.makers import files_below
from tests.pipeline.tokenize.makers import BAD, ROWS, photos, run, stopped

# Ray warns about defaults of its own while it makes its context.
quiet = pytest.mark.filterwarnings(
    "ignore:`use_push_based_shuffle` is deprecated:DeprecationWarning",
    "ignore:`use_polars` is deprecated:DeprecationWarning",
    "ignore:`use_arrow_tensor_v2` is deprecated:DeprecationWarning",
)


def test_chunks_survive_the_way_to_a_worker() -> None:
    """Tasks, pixels, counts and errors; pixels are not pickled, nor is the block changed."""
    pixels = np.arange(48, dtype=np.uint8).reshape(2, 1, 3, 2, 4)
    block: dict[str, Any] = {"pixels": pixels, "key": np.array(["a", "b"], dtype=object)}
    row = packed(block)
    assert np.shares_memory(row["pixels"], pixels)
    assert set(block) == {"pixels", "key"}
    found = unpacked(row)
    assert np.array_equal(found["pixels"], pixels)
    assert list(found["key"]) == ["a", "b"]
    counts = {"rows": np.array([3])}
    assert unpacked(packed(counts)) == counts
    assert str(unpacked(packed(StoreError("no")))) == "no"
    assert [packed(each)["pixels"].shape for each in (counts, block)] == [(1, 0), (1, 48)]


class Counted:
    """`Attempts` as its actor would answer, in this process."""

    def __init__(self) -> None:
        self.attempts = Attempts()
        self.begin = SimpleNamespace(remote=self.attempts.begin)


def test_a_chunk_that_lost_its_worker_is_decoded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second attempt on; without end it is not tried, and the image is named."""
    monkeypatch.setattr("ray.get", lambda value: value)
    counted = Counted()
    steps = Steps(None, Path(), None, "", None, attempts=counted)  # type: ignore[arg-type]
    first, second = (ChunkTask(n, 4 * n, (Row(f"{n}.png", 0),)) for n in (1, 2))
    assert steps.begun(first) == first
    assert steps.begun(second) == second
    assert counted.attempts.repeated() == {}
    for _ in range(MOST_ATTEMPTS - 1):
        assert steps.begun(second).isolated
    assert counted.attempts.repeated() == {2: MOST_ATTEMPTS - 1}
    with pytest.raises(WorkError, match=r"chunk 2 .*2\.png.* 10 times"):
        steps.begun(second)
    assert replace(steps, attempts=None).begun(second) == second


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """As workers have: the last bit of a residual depends on them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
def test_steps_travel_to_a_worker(tokenizer: Path, tmp_path: Path) -> None:
    """Pickled, they do chunks wholly or one after another; what they wrote is the engine's."""
    recipe = photos(tmp_path / "images")
    stopped(recipe, tokenizer, tmp_path / "a.vgs", ())
    images = open_images(recipe)
    plan = plan_rows(recipe.data.heldout, images.source)
    decode = ChunkDecoder(images, plan.classes)
    chunks = plan_chunks(plan.rows, recipe.tokenize.chunk_rows)
    steps = Steps(decode, tokenizer, recipe.tokenize, str(tmp_path / "a.vgs"), chunks)
    sent = pickle.loads(pickle.dumps(steps))
    encoder = Encode(sent)
    for task in chunks:
        row = packed(task.chunk)
        row = Commit(sent)(encoder(Decode(sent)(row))) if task.chunk else WholeChunk(sent)(row)
        assert int(unpacked(row)["rows"][0]) == len(task.rows)
    run(recipe, tokenizer, tmp_path / "a.vgs", resume=True)
    run(recipe, tokenizer, tmp_path / "b.vgs")
    assert files_below(tmp_path / "a.vgs") == files_below(tmp_path / "b.vgs")


@pytest.mark.ray
@quiet
def test_encoders_come_and_go_with_the_nodes() -> None:
    """One at least, those that have room at first, and as many as there are chunks at most."""
    pool = encoder_actors(Pool(cpus=16, size=4, most=40))
    assert (pool.min_size, pool.initial_size, pool.max_size) == (1, 4, 40)


@pytest.mark.ray
@quiet
def test_ray_makes_the_same_bytes(tokenizer: Path, tmp_path: Path) -> None:
    """The Ray engine, begun or resumed, writes byte for byte what the inline engine writes.

    With as many threads as its workers have, one: the last bit of a residual depends on them.
    """
    recipe = photos(tmp_path / "images")
    out = tmp_path / "ray.vgs"
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        run(recipe, tokenizer, tmp_path / "inline.vgs")
        stopped(recipe, tokenizer, out, (1,))
    finally:
        torch.set_num_threads(threads)
    outcome = tokenize_dataset(recipe, tokenizer, str(out), Engine.RAY, PassMode.RESUME)
    assert (outcome.rows, outcome.errors) == (ROWS, len(BAD))
    assert files_below(out) == files_below(tmp_path / "inline.vgs")


@pytest.mark.thorough
@pytest.mark.parametrize("lost", ["zarr.json", "content/zarr.json", "detokenizer.safetensors"])
def test_a_store_killed_while_it_was_made_is_completed(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, tmp_path: Path, lost: str
) -> None:
    """Whatever the making of the store had not written yet, resuming writes; same bytes again."""
    recipe, whole = calm_pass
    stopped(recipe, tokenizer, tmp_path / "killed.vgs", ())
    (tmp_path / "killed.vgs" / lost).unlink()
    run(recipe, tokenizer, tmp_path / "killed.vgs", resume=True)
    assert files_below(tmp_path / "killed.vgs") == files_below(whole)


def test_a_folder_with_other_things_is_left_alone(tokenizer: Path, tmp_path: Path) -> None:
    """A store is never laid over a folder that holds something else, resume or not."""
    recipe = photos(tmp_path / "images")
    before = files_below(tmp_path / "images")
    for resume in (False, True):
        with pytest.raises(StoreError, match="not empty and no store"):
            run(recipe, tokenizer, tmp_path / "images", resume)
    assert files_below(tmp_path / "images") == before
