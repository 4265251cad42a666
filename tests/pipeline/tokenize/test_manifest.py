"""The manifest of a store, and what a new store holds."""

from pathlib import Path

import pytest
import torch

from nvg.store.manifest import Manifest
from nvg.tokenizer.autoencoder import Autoencoder, Detokenizer
from nvg.tokenizer.detokenizer import load_detokenizer
from nvg.weights import fingerprint, read_header
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import FolderSource
from pipeline.tokenize.manifest import make_manifest, prepare_store
from pipeline.tokenize.plan import plan_rows
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import tiny_autoencoder


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe over a folder of 12 images."""
    write_image_folder(tmp_path / "images")
    return tiny_recipe(tmp_path / "images")


def made_manifest(recipe: Recipe, model: Autoencoder) -> Manifest:
    """The manifest over the folder as it is now."""
    images = open_images(recipe)
    return make_manifest(recipe, images, model, plan_rows(recipe.data.heldout, images.source))


def test_a_manifest_says_what_the_store_is(recipe: Recipe) -> None:
    """Geometry, sizes, classes and identities, all of it plain JSON."""
    source, model = FolderSource(Path(recipe.data.path)), tiny_autoencoder()
    manifest = made_manifest(recipe, model)
    expected = {
        "grid": 4,
        "K": 4,
        "codebook_size": 16,
        "latent_dim": 4,
        "builder": "greedy",
        "rows": 12,
        "chunk_rows": 4,
        "views": ("center",),
        "image_size": 8,
        "classes": ("ant", "bee", "cat"),
        "tokenizer": fingerprint(model),
        "source": source.fingerprint(),
    }
    assert expected.items() <= vars(manifest).items()
    assert Manifest.from_bytes(manifest.to_bytes(), "a.vgs") == manifest
    assert {"nvg", "python", "torch", "numpy", "pillow", "zarr", "pyarrow"} <= set(
        manifest.versions
    )


def test_a_manifest_is_the_same_every_time(recipe: Recipe) -> None:
    """No time, host or random number is in it."""
    made = [made_manifest(recipe, tiny_autoencoder()) for _ in range(2)]
    assert made[0] == made[1]


def test_a_new_store_holds_what_training_and_viewing_need(recipe: Recipe, tmp_path: Path) -> None:
    """Codebook and refiners in one file; these and the decoder in the other; who made them."""
    model = tiny_autoencoder()
    manifest = made_manifest(recipe, model)
    store = prepare_store(str(tmp_path / "a.vgs"), manifest, model, resume=False)
    for name in ("tokenizer.safetensors", "detokenizer.safetensors"):
        assert read_header(store.read(name))["tokenizer"] == fingerprint(model)
    assert len(store.read("tokenizer.safetensors")) < len(store.read("detokenizer.safetensors"))
    viewer = load_detokenizer(store.read("detokenizer.safetensors"))
    content, leaves = torch.arange(31)[None] % 16, torch.arange(16)[None]
    assert type(viewer) is Detokenizer
    assert torch.equal(viewer.decode(content, leaves), model.decode(content, leaves))
