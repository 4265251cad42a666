"""One chunk: pixels to tokens to rows of the store, error rows included."""

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nvg.choices import EncoderPrecision
from nvg.store import open_store
from pipeline.images.blocks import Block
from pipeline.images.decode import decode as decode_image
from pipeline.images.recipe_images import open_images
from pipeline.recipe import AutoencoderSection, Recipe, TokenizeConfig, View
from pipeline.sources import FolderSource
from pipeline.tokenize.chunk import ChunkDecoder, ChunkTokenizer, commit_chunk
from pipeline.tokenize.dataset import tokenize_dataset
from pipeline.tokenize.manifest import make_manifest, prepare_store
from pipeline.tokenize.plan import ChunkTask, plan_chunks, plan_rows
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder
from tests.pipeline.images.makers import center_crop
from tests.pipeline.tokenize.makers import photos, run

BOTH = (View.CENTER, View.FLIP)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over 6 images of two classes; the second and the last of them are bad."""
    folder = tmp_path / "images"
    write_image_folder(folder, ["ant", "bee"], 3, 21)
    (folder / "ant" / "001.jpg").write_bytes(b"no image")
    (folder / "bee" / "002.png").write_bytes(b"")
    return tiny_recipe(folder, tokenize=TokenizeConfig(chunk_rows=6, batch_size=8, views=BOTH))


def whole(recipe: Recipe) -> ChunkTask:
    """The only chunk of the recipe."""
    plan = plan_rows(0, FolderSource(Path(recipe.data.path)))
    (task,) = plan_chunks(plan.rows, recipe.tokenize.chunk_rows)
    return task


def decode(recipe: Recipe, task: ChunkTask) -> Block:
    """The block of pixels of one chunk of the recipe's source."""
    images = open_images(recipe)
    return ChunkDecoder(images, images.source.classes)(task)


def crops(recipe: Recipe, rows: list[int]) -> torch.Tensor:
    """Both views of these images [B, V, 3, D, D], read without the pipeline's own reader."""
    keys = [whole(recipe).rows[row].key for row in rows]
    size = recipe.autoencoder.model.image_size
    pixels = np.stack(
        [
            center_crop(decode_image(Path(recipe.data.path, key).read_bytes())[0], size)
            for key in keys
        ]
    )
    return torch.from_numpy(np.stack([pixels, pixels[..., ::-1]], axis=1))


def test_a_block_knows_its_place(recipe: Recipe) -> None:
    """Every row carries the number of its chunk and its row in the store."""
    task = ChunkTask(3, 40, whole(recipe).rows[:4])
    block = decode(recipe, task)
    assert block["chunk"].tolist() == [3, 3, 3, 3]
    assert block["row"].tolist() == [40, 41, 42, 43]
    assert block["pixels"].shape == (4, 2, 3, 8, 8)


def test_tokens_are_those_of_the_autoencoder(recipe: Recipe, tmp_path: Path) -> None:
    """Leaves and content of every valid row and view equal Autoencoder.tokenize on its pixels."""
    model = write_autoencoder(tmp_path / "run")
    block = ChunkTokenizer(tmp_path / "run", 8)(decode(recipe, whole(recipe)))
    good = [0, 2, 3, 4]
    leaves, content, error = model.tokenize(crops(recipe, good).flatten(0, 1))
    assert np.array_equal(block["leaves"][good], leaves.reshape(4, 2, 16).numpy())
    assert np.array_equal(block["content"][good], content.reshape(4, 2, 31).numpy())
    expected = error.reshape(4, 2, 5).mean(1).numpy()
    assert np.allclose(block["stage_error"][good], expected, rtol=1e-6)
    assert (block["leaves"].dtype, block["content"].dtype) == (np.uint8, np.uint16)


def test_the_encoder_has_the_precision_of_the_recipe(recipe: Recipe, tmp_path: Path) -> None:
    """Tokens of a whole pass are those of latents in bfloat16, which differ from float32's."""
    model, precision = write_autoencoder(tmp_path / "run"), EncoderPrecision.BF16
    tokenize = replace(recipe.tokenize, precision=precision)
    tokenize_dataset(replace(recipe, tokenize=tokenize), tmp_path / "run", str(tmp_path / "a.vgs"))
    good, store = [0, 2, 3, 4], open_store(str(tmp_path / "a.vgs"))
    pixels = crops(recipe, good).flatten(0, 1)
    leaves, content, _ = model.tokenize(pixels, precision=precision)
    assert np.array_equal(store.leaves[:][good], leaves.reshape(4, 2, 16).numpy())
    assert np.array_equal(store.content[:][good], content.reshape(4, 2, 31).numpy())
    assert not torch.equal(model.tokenize(pixels)[0], leaves)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batches_do_not_mix_rows(recipe: Recipe, tokenizer: Path, batch_size: int) -> None:
    """Batches that do not divide the valid rows still fill every valid row, each with its own."""
    pixels = decode(recipe, whole(recipe))
    block = ChunkTokenizer(tokenizer, batch_size)(pixels)
    together = ChunkTokenizer(tokenizer, 8)(pixels)
    assert np.allclose(block["stage_error"], together["stage_error"], rtol=1e-4, equal_nan=True)
    same = (block["content"] == together["content"]).mean()
    assert same > 0.9  # rounding may swap codes at nearly equal distances


def test_error_rows_hold_nothing(recipe: Recipe, tokenizer: Path) -> None:
    """Their leaves and tokens are 0 and their residuals unknown."""
    block = ChunkTokenizer(tokenizer, 8)(decode(recipe, whole(recipe)))
    bad = [1, 5]
    assert not block["leaves"][bad].any()
    assert not block["content"][bad].any()
    assert np.isnan(block["stage_error"][bad]).all()
    assert not np.isnan(np.delete(block["stage_error"], bad, axis=0)).any()


def test_pixels_end_here(recipe: Recipe, tokenizer: Path) -> None:
    """What goes on to the store has no pixels in it."""
    block = ChunkTokenizer(tokenizer, 8)(decode(recipe, whole(recipe)))
    assert "pixels" not in block
    assert {"key", "label", "class", "reason", "leaves", "content"} <= set(block)


def test_large_grids_make_two_byte_leaves(recipe: Recipe, tmp_path: Path) -> None:
    """A 32x32 grid has leaves up to 1023."""
    model = tiny_model(grid=32)
    write_autoencoder(tmp_path / "run", config=model)
    large = tiny_recipe(recipe.data.path, autoencoder=AutoencoderSection(model=model))
    task = ChunkTask(0, 0, whole(recipe).rows[:1])
    block = ChunkTokenizer(tmp_path / "run", 8)(decode(large, task))
    assert block["leaves"].dtype == np.uint16
    assert sorted(block["leaves"][0, 0].tolist()) == list(range(1024))


def committed(recipe: Recipe, tmp_path: Path) -> tuple[Block, str]:
    """The counts that a commit gives back, and the store it went to."""
    model = write_autoencoder(tmp_path / "run")
    images = open_images(recipe)
    out = str(tmp_path / "a.vgs")
    manifest = make_manifest(recipe, images, model, plan_rows(0, images.source))
    prepare_store(out, manifest, model, resume=False)
    block = ChunkTokenizer(tmp_path / "run", 8)(decode(recipe, whole(recipe)))
    return commit_chunk(block, out), out


def test_a_commit_counts_rows_and_errors(recipe: Recipe, tmp_path: Path) -> None:
    """One row of counts comes back, and the chunk is committed."""
    counts, out = committed(recipe, tmp_path)
    assert {name: counts[name].tolist() for name in ("rows", "errors")} == {
        "rows": [6],
        "errors": [2],
    }
    for step in ("decode", "encode", "commit"):
        assert 0 < counts[f"{step}_seconds"].item() < 60
    assert open_store(out).committed() == [0]


def test_a_commit_writes_the_index(recipe: Recipe, tmp_path: Path) -> None:
    """Key, class, size, status and reason of every row; residuals for the good ones only."""
    _, out = committed(recipe, tmp_path)
    index = open_store(out).index
    assert index["key"].to_pylist() == [row.key for row in whole(recipe).rows]
    assert index["class"].to_pylist() == ["ant"] * 3 + ["bee"] * 3
    assert index["label"].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert index["status"].to_pylist() == ["ok", "error", "ok", "ok", "ok", "error"]
    assert index["reason"].to_pylist() == ["", "not an image", "", "", "", "empty file"]
    assert index["width"].to_pylist() == [21, 0, 21, 21, 21, 0]
    residuals = index["stage_error"].to_pylist()
    assert [value and len(value) for value in residuals] == [5, None, 5, 5, 5, None]


def test_a_chunk_of_bad_images_is_committed_too(tmp_path: Path) -> None:
    """With not one good image, the chunk is written and all its rows are errors."""
    folder = tmp_path / "images"
    write_image_folder(folder, ["ant"], 2)
    for file in (folder / "ant").iterdir():
        file.write_bytes(b"text")
    recipe = tiny_recipe(folder)
    model = write_autoencoder(tmp_path / "run")
    images = open_images(recipe)
    out = str(tmp_path / "a.vgs")
    manifest = make_manifest(recipe, images, model, plan_rows(0, images.source))
    store = prepare_store(out, manifest, model, resume=False)
    commit_chunk(
        ChunkTokenizer(tmp_path / "run", 8)(decode(recipe, whole(recipe))),
        out,
    )
    store.finish()
    assert (store.manifest.errors, open_store(out).verify()) == (2, [])


def test_a_size_of_a_photo_is_that_of_the_file(tmp_path: Path, tokenizer: Path) -> None:
    """Width and height are those before the crop."""
    (tmp_path / "images" / "ant").mkdir(parents=True)
    Image.new("RGB", (31, 17)).save(tmp_path / "images" / "ant" / "a.png")
    recipe = tiny_recipe(tmp_path / "images")
    block = ChunkTokenizer(tokenizer, 8)(decode(recipe, whole(recipe)))
    assert (block["width"].tolist(), block["height"].tolist()) == ([31], [17])


def test_a_chunk_is_committed_while_the_next_is_encoded(
    tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But no commit outlives the pass, whose lock ends with it."""
    second, ended = Event(), list[int]()

    def late(block: Any, out: str) -> Any:
        chunk = int(block["chunk"][0])
        assert second.wait(60 if chunk == 0 else 0.2), "the next was not encoded meanwhile"
        ended.append(chunk)
        return commit_chunk(block, out)

    def tokenized(chunks: ChunkTokenizer, block: Any) -> Any:
        if int(block["chunk"][0]) == 1:
            second.set()
        if int(block["chunk"][0]) == 3:
            raise OSError("a disk that fails")
        return encode(chunks, block)

    encode = ChunkTokenizer.__call__
    monkeypatch.setattr("pipeline.tokenize.engine.commit_chunk", late)
    monkeypatch.setattr(ChunkTokenizer, "__call__", tokenized)
    with pytest.raises(OSError, match="a disk that fails"):
        run(photos(tmp_path / "images"), tokenizer, tmp_path / "a.vgs")
    assert ended == open_store(str(tmp_path / "a.vgs")).committed() == [0, 1, 2]
