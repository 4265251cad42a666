"""--extend: a source that has grown, and the store that follows it."""

import pkgutil
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nvg.choices import EncoderPrecision
from nvg.format.base import StoreError
from nvg.loader import SequenceLoader
from nvg.store import Split, Store, open_store, open_writer
from pipeline.recipe import Recipe, TokenizeConfig
from pipeline.sources import open_source
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.tokenize.estimate import plan_lines
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.store.makers import change_manifest
from tests.nvg.tokenizer.makers import write_autoencoder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Ten images of two classes in chunks of four; the last chunk holds two."""
    write_image_folder(tmp_path / "images", ("bee", "cat"), 5, seed=1)
    return tiny_recipe(tmp_path / "images")


def run(recipe: Recipe, tokenizer: Path, out: Path, mode: PassMode = PassMode.NEW) -> Store:
    """The store after a pass."""
    tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, mode)
    return open_store(str(out))


def grow(recipe: Recipe) -> None:
    """Three images of a new class that sorts first, and one among the old ones."""
    images = Path(recipe.data.path)
    write_image_folder(images, ("ant",), 3, seed=2)
    shutil.copy(images / "ant" / "000.png", images / "bee" / "0000.png")


def by_key(store: Store) -> dict[str, tuple[str, list[int], list[int]]]:
    """Class name, leaves and content of every image."""
    leaves, content = store.leaves[:], store.content[:]
    return {
        entry["key"]: (entry["class"], leaves[n].tolist(), content[n].tolist())
        for n, entry in enumerate(store.index.to_pylist())
    }


def test_new_images_follow_the_old(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Old rows and class ids stay as they are; every token is that of a store made at once."""
    old = run(recipe, tokenizer, tmp_path / "a.vgs")
    keys, labels = old.index["key"].to_pylist(), old.label[:]
    grow(recipe)
    store = run(recipe, tokenizer, tmp_path / "a.vgs", PassMode.EXTEND)
    assert (len(store), store.finished, store.verify()) == (14, True, [])
    assert store.index["key"].to_pylist()[:10] == keys
    assert np.array_equal(store.label[:10], labels)
    assert store.manifest.classes == ("bee", "cat", "ant")
    assert by_key(store) == by_key(run(recipe, tokenizer, tmp_path / "b.vgs"))
    assert store.manifest.source == open_source(recipe.data).fingerprint()


@pytest.mark.thorough
def test_only_new_chunks_are_made(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Full chunks of the old store are not made again; the last one, now full, is."""
    run(recipe, tokenizer, tmp_path / "a.vgs")
    grow(recipe)
    report = tokenize_dataset(
        recipe, tokenizer, str(tmp_path / "a.vgs"), Engine.INLINE, PassMode.EXTEND
    )
    assert report.work.images == 6  # two of the last chunk, and four new ones


@pytest.mark.thorough
def test_extending_again_and_resuming(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """A second extension follows the first; --resume of an extended store finds it whole."""
    out = tmp_path / "a.vgs"
    run(recipe, tokenizer, out)
    for count in (14, 17):
        if count == 14:
            grow(recipe)
        else:
            write_image_folder(Path(recipe.data.path), ("dog",), 3, seed=3)
        assert len(run(recipe, tokenizer, out, PassMode.EXTEND)) == count
    before = files_below(out)
    for mode in (PassMode.RESUME, PassMode.EXTEND):
        assert run(recipe, tokenizer, out, mode).verify() == []
        assert files_below(out) == before


@pytest.mark.thorough
@pytest.mark.parametrize("step", ["parts", "order", "manifest", "record", "arrays", "chunk"])
def test_an_extension_may_be_killed_anywhere(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun again it ends as if never stopped: with --extend before the manifest, else --resume."""
    run(recipe, tokenizer, tmp_path / "whole.vgs")
    shutil.copytree(tmp_path / "whole.vgs", tmp_path / "killed.vgs")
    grow(recipe)
    run(recipe, tokenizer, tmp_path / "whole.vgs", PassMode.EXTEND)
    stops = {
        "parts": ("nvg.store.shard_writer.ShardedWriter._let_wait", 1),
        "order": ("nvg.store.writer.StoreWriter.write", 2),
        "manifest": ("nvg.store.shard_writer.ShardedWriter.reopen", 0),
        "record": ("nvg.store.shard_writer.ShardedWriter._remove", 0),
        "arrays": ("pipeline.tokenize.manifest.complete_layout", 0),
        "chunk": ("nvg.store.shard_writer.ShardedWriter.write_chunk", 1),
    }
    name, calls = stops[step]
    stop_at_call(monkeypatch, name, calls)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tokenizer, tmp_path / "killed.vgs", PassMode.EXTEND)
    monkeypatch.undo()
    before_manifest = step in ("parts", "order", "manifest")
    mode = PassMode.EXTEND if before_manifest else PassMode.RESUME
    run(recipe, tokenizer, tmp_path / "killed.vgs", mode)
    assert files_below(tmp_path / "killed.vgs") == files_below(tmp_path / "whole.vgs")


def stop_at_call(monkeypatch: pytest.MonkeyPatch, name: str, calls: int) -> None:
    """Interrupt the process at a call of this function, after some that go through."""
    module, _, attribute = name.rpartition(".")
    owner = pkgutil.resolve_name(module)
    real, count = getattr(owner, attribute), 0

    def counting(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count > calls:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(owner, attribute, counting)


@pytest.mark.thorough
def test_a_lost_list_of_rows_is_made_anew(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """verify names it, and --resume writes it from the index."""
    out = tmp_path / "a.vgs"
    run(recipe, tokenizer, out)
    grow(recipe)
    run(recipe, tokenizer, out, PassMode.EXTEND)
    before = files_below(out)
    (out / "rows.parquet").write_bytes(before["rows.parquet"][:-9] + b"flipped!!")
    assert open_store(str(out)).verify() == ["rows.parquet does not match its checksum"]
    damaged = files_below(out)
    plan_lines(recipe, str(out))  # a dry run reads only
    assert files_below(out) == damaged
    run(recipe, tokenizer, out, PassMode.RESUME)
    assert files_below(out) == before


def test_what_cannot_be_extended_is_refused(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """One line each, and the store is as it was."""
    out = tmp_path / "a.vgs"
    with pytest.raises(StoreError, match="is not a store"):
        run(recipe, tokenizer, out, PassMode.EXTEND)
    run(recipe, tokenizer, out)
    before = files_below(out)
    grow(recipe)
    other = replace(recipe, tokenize=TokenizeConfig(chunk_rows=4, batch_size=2))
    half = replace(recipe.tokenize, precision=EncoderPrecision.BF16)
    aside = replace(recipe, data=replace(recipe.data, heldout=2))
    write_autoencoder(tmp_path / "other", seed=1)
    for wrong, weights, words in (
        (other, tokenizer, "another recipe"),
        (replace(recipe, tokenize=half), tokenizer, "another recipe"),
        (aside, tokenizer, "data.heldout = 2"),
        (recipe, tmp_path / "other", "was made by tokenizer"),
    ):
        with pytest.raises(StoreError, match=words):
            run(wrong, weights, out, PassMode.EXTEND)
    with pytest.raises(StoreError, match="--extend"):
        run(recipe, tokenizer, out, PassMode.RESUME)
    (Path(recipe.data.path) / "cat" / "001.jpg").unlink()
    with pytest.raises(StoreError, match="holds 1 images that the source has lost, such as cat/"):
        run(recipe, tokenizer, out, PassMode.EXTEND)
    assert files_below(out) == before


@pytest.mark.thorough
def test_stored_rows_keep_their_split(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Held-out rows stay held out and new images train, though others would be picked now."""
    aside = replace(recipe, data=replace(recipe.data, heldout=3))
    old = run(aside, tokenizer, tmp_path / "a.vgs").index.to_pylist()
    assert [entry["split"] for entry in old] == ["train"] * 7 + ["val"] * 3
    grow(recipe)
    store = run(aside, tokenizer, tmp_path / "a.vgs", PassMode.EXTEND)
    entries = store.index.to_pylist()
    assert [entry["split"] for entry in entries] == ["train"] * 7 + ["val"] * 3 + ["train"] * 4
    assert entries[:10] == old
    assert (store.manifest.val_rows, store.verify()) == (3, [])
    before = files_below(store.path)
    run(aside, tokenizer, tmp_path / "a.vgs", PassMode.RESUME)
    assert files_below(store.path) == before
    (tmp_path / "a.vgs" / "rows.parquet").unlink()
    run(aside, tokenizer, tmp_path / "a.vgs", PassMode.RESUME)
    assert files_below(store.path) == before


@pytest.mark.thorough
def test_new_images_of_a_val_split_are_held_out(tokenizer: Path, tmp_path: Path) -> None:
    """They follow the new ones to train on; each loader finds its own, wherever they are."""
    write_image_folder(tmp_path / "images" / "train", ("bee", "cat"), 3, seed=1)
    write_image_folder(tmp_path / "images" / "val", ("bee",), 1, seed=2)
    recipe = tiny_recipe(tmp_path / "images")
    run(recipe, tokenizer, tmp_path / "a.vgs")
    write_image_folder(tmp_path / "images" / "train", ("dog",), 2, seed=3)
    write_image_folder(tmp_path / "images" / "val", ("ant", "cat"), 1, seed=4)
    store = run(recipe, tokenizer, tmp_path / "a.vgs", PassMode.EXTEND)
    wanted = ["train"] * 6 + ["val"] + ["train"] * 2 + ["val"] * 2
    assert store.index["split"].to_pylist() == wanted
    assert store.manifest.classes == ("bee", "cat", "ant", "dog")
    assert store.verify() == []
    assert by_key(store) == by_key(run(recipe, tokenizer, tmp_path / "b.vgs"))
    for split in Split:
        loader = SequenceLoader(store, 1, split=split)
        rows = sorted(int(batch.row[0]) for batch in loader if batch.row is not None)
        assert rows == [row for row, word in enumerate(wanted) if word == split]


def test_an_unfinished_store_is_completed_first(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """Extending half a store would lose which half."""
    out = tmp_path / "a.vgs"
    run(recipe, tokenizer, out)
    change_manifest(Store(str(out)), finished=False)
    grow(recipe)
    with pytest.raises(StoreError, match="--resume, then extend"):
        run(recipe, tokenizer, out, PassMode.EXTEND)


def test_declaring_rows_keeps_the_index(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """The index of the chunks that are there can be read all the time."""
    store = run(recipe, tokenizer, tmp_path / "a.vgs")
    keys = store.index["key"].to_pylist()
    open_writer(store.path).lengthen(b"order", store.manifest)
    unfinished = open_store(store.path)
    assert (unfinished.finished, unfinished.index["key"].to_pylist()) == (False, keys[:8])
