"""Alignment end to end: a transformer's features while tokenizing, in the store, in training.

The transformer is a small one of timm with random weights: what it sees means nothing, how it
travels does.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cli.app import app
from nvg.format.base import CODEC, StoreError
from nvg.loader import LoaderMode as Reading
from nvg.loader import SequenceLoader
from nvg.pretrained.vit import VisionTransformer
from nvg.store import Split, Store, open_store
from nvg.tokenizer.autoencoder import from_pixels
from nvg.training.generator.repa import aligner_of
from pipeline.images.decode import decode
from pipeline.recipe import FeaturesConfig, Recipe, TokenizeConfig, View
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.pretrained.makers import VIT
from tests.nvg.store.makers import flip_chunk, make_store, random_codec
from tests.pipeline.images.makers import center_crop

DIMS = 5
BOTH = (View.CENTER, View.FLIP)


@pytest.fixture
def recipe(tmp_path: Path, vit_weights: Path) -> Recipe:
    """Fifteen images, one of which is bad, with features of both views."""
    folder = tmp_path / "images"
    write_image_folder(folder, per_class=5, size=20)
    (folder / "bee" / "001.jpg").write_bytes(b"no image")
    features = FeaturesConfig(weights=str(vit_weights), model=VIT, dims=DIMS)
    sizes = TokenizeConfig(chunk_rows=4, batch_size=3, views=BOTH, features=features)
    return tiny_recipe(folder, tokenize=sizes)


def tokenize(
    recipe: Recipe,
    tokenizer: Path,
    out: Path,
    mode: PassMode = PassMode.NEW,
    engine: Engine = Engine.INLINE,
) -> Store:
    """The finished store."""
    tokenize_dataset(recipe, tokenizer, str(out), engine, mode)
    return open_store(str(out))


@pytest.mark.thorough
def test_a_store_keeps_the_features_of_every_view(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, vit_weights: Path
) -> None:
    """Codes equal the transformer's patches through the store's codec; error rows have none."""
    store = tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    assert store.verify() == []
    assert store.group["features"].shape == (15, 2, 16, DIMS)
    transformer, codec = VisionTransformer(VIT, vit_weights, 4), aligner_of(8, store).codec
    for row, entry in enumerate(store.index.to_pylist()):
        codes = store.group["features"][row]
        if entry["status"] == "error":
            assert not codes.any()
            continue
        image, _ = decode(Path(recipe.data.path, entry["key"]).read_bytes())
        pixels = center_crop(image, 8)
        views = torch.from_numpy(np.stack([pixels, pixels[..., ::-1]]))
        with torch.no_grad():
            wanted = codec.encode(transformer(from_pixels(views))).numpy()
        assert np.abs(codes.astype(int) - wanted.astype(int)).max() <= 1  # other batch, last bit
    info = store.manifest.features
    assert info
    assert info.model == VIT
    assert info.width == 64
    assert 0.3 < info.kept <= 1


@pytest.mark.thorough
def test_an_interrupted_pass_ends_as_an_undisturbed_one(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """Damaged chunks and a lost codec are made again, byte for byte."""
    tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    broken = tokenize(recipe, tokenizer, tmp_path / "b.vgs")
    flip_chunk(tmp_path / "b.vgs", "leaves", 1)
    (tmp_path / "b.vgs" / CODEC).unlink()
    flip_chunk(tmp_path / "b.vgs", "features", 2)
    assert len(broken.verify()) >= 3
    tokenize(recipe, tokenizer, tmp_path / "b.vgs", PassMode.RESUME)
    assert files_below(tmp_path / "b.vgs") == files_below(tmp_path / "a.vgs")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_keeps_the_same_features(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Its workers load the transformer and the store's codec themselves."""
    inline = tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    found = tokenize(recipe, tokenizer, tmp_path / "b.vgs", engine=Engine.RAY)
    assert found.verify() == []
    codes, wanted = (store.group["features"][:].astype(int) for store in (found, inline))
    assert np.abs(codes - wanted).max() <= 1  # a worker has one thread: the last bit may differ
    assert codes.any()


@pytest.mark.thorough
def test_new_images_are_coded_with_the_old_codec(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """--extend keeps the codec: what is stored stays what it was."""
    before = tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    codec, old = before.read(CODEC), before.group["features"][:]
    write_image_folder(Path(recipe.data.path), ("dog",), per_class=3, size=20, seed=9)
    after = tokenize(recipe, tokenizer, tmp_path / "a.vgs", PassMode.EXTEND)
    assert after.read(CODEC) == codec
    assert after.verify() == []
    assert np.array_equal(after.group["features"][:15], old)
    assert after.group["features"][15:].any()


@pytest.mark.thorough
def test_features_are_fitted_to_rows_for_training(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """The codec is that of a store without the held-out images, whose features it codes too."""
    features = replace(recipe.tokenize.features, dims=4)  # type: ignore[type-var]
    recipe = replace(recipe, tokenize=replace(recipe.tokenize, features=features))
    aside = replace(recipe, data=replace(recipe.data, heldout=3))
    store = tokenize(aside, tokenizer, tmp_path / "a.vgs")
    for row in store.ok_rows(Split.VAL).tolist():
        Path(recipe.data.path, store.entry(row)["key"]).unlink()
        assert store.group["features"][row].any()
    alone = tokenize(recipe, tokenizer, tmp_path / "b.vgs")
    assert alone.read(CODEC) == store.read(CODEC)
    assert np.array_equal(alone.group["features"][:], store.group["features"][: len(alone)])


@pytest.mark.thorough
def test_other_features_are_refused(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """A store is not continued with other components, nor without any."""
    tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    features = recipe.tokenize.features
    assert features is not None
    for other in (replace(features, dims=4), None):
        changed = replace(recipe, tokenize=replace(recipe.tokenize, features=other))
        with pytest.raises(StoreError, match="other"):
            tokenize(changed, tokenizer, tmp_path / "a.vgs", PassMode.RESUME)


@pytest.mark.parametrize("mode", [Reading.MEMORY, Reading.STREAM])
def test_batches_carry_the_features_of_their_rows(tmp_path: Path, mode: Reading) -> None:
    """In both modes, of the view that was drawn; not at all unless asked for."""
    store = make_store(tmp_path / "a.vgs", 11, 2, bad=(4,), codec=random_codec())
    stored = {name: store.group[name][:] for name in ("leaves", "features")}
    loader = SequenceLoader(store, 3, mode=mode, window=2, features=True, drop_last=False)
    rows = []
    for batch in loader:
        assert batch.row is not None
        assert batch.features is not None
        for row, leaves, codes in zip(batch.row, batch.leaves, batch.features, strict=True):
            (view,) = np.flatnonzero((stored["leaves"][row] == leaves.numpy()).all(1))
            assert np.array_equal(stored["features"][row, view], codes.numpy())
            rows.append(int(row))
    assert sorted(rows) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert next(iter(SequenceLoader(store, 3, mode=mode))).features is None


@pytest.mark.thorough
def test_inspect_tells_what_is_kept(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Model, components, bytes a view, share of the variance."""
    tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    said = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.vgs")]).output
    assert f"features    {VIT}, {DIMS} of 64 components in a byte each: 80 bytes a view" in said
    assert json.loads((tmp_path / "a.vgs" / "manifest.json").read_text())["recipe"]["tokenize"][
        "features"
    ] == {"model": VIT, "dims": DIMS}
