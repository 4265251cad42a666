"""Alignment end to end: a transformer's features while tokenizing, in the store, in training.

The transformer is a small one of timm with random weights: what it sees means nothing, how it
travels does.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cli.app import app
from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.loader import LoaderMode as Reading
from nvg.loader import SequenceLoader
from nvg.pretrained.vit import VisionTransformer, timm_library
from nvg.store import Store, open_store
from nvg.store.format import CODEC, StoreError
from nvg.tokenizer.autoencoder import from_pixels
from nvg.training.generator.repa import Aligner, aligner_of
from pipeline.images.decode import decode
from pipeline.recipe import FeaturesConfig, Recipe, TokenizeConfig, View
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.store.makers import make_store, random_codec
from tests.nvg.training.generator.makers import fit
from tests.nvg.training.makers import lines_of
from tests.pipeline.images.makers import center_crop

MODEL, DIMS = "test_vit", 5
BOTH = (View.CENTER, View.FLIP)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights at the model's usual size, whose grid is not ours."""
    path = tmp_path_factory.mktemp("vit") / "vit.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(timm_library().create_model(MODEL).state_dict(), path)
    return path


@pytest.fixture
def recipe(tmp_path: Path, weights: Path) -> Recipe:
    """Fifteen images, one of which is bad, with features of both views."""
    folder = tmp_path / "images"
    write_image_folder(folder, per_class=5, size=20)
    (folder / "bee" / "001.jpg").write_bytes(b"no image")
    features = FeaturesConfig(weights=str(weights), model=MODEL, dims=DIMS)
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


def test_a_store_keeps_the_features_of_every_view(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, weights: Path
) -> None:
    """Codes equal the transformer's patches through the store's codec; error rows have none."""
    store = tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    assert store.verify() == []
    assert store.group["features"].shape == (15, 2, 16, DIMS)
    transformer, codec = VisionTransformer(MODEL, weights, 4), aligner_of(8, store).codec
    for row, entry in enumerate(store.index.to_pylist()):
        codes = store.group["features"][row]
        if entry["status"] == "error":
            assert not codes.any()
            continue
        image = decode(Path(recipe.data.path, entry["key"]).read_bytes())
        pixels = center_crop(image, 8)
        views = torch.from_numpy(np.stack([pixels, pixels[..., ::-1]]))
        with torch.no_grad():
            wanted = codec.encode(transformer(from_pixels(views))).numpy()
        assert np.abs(codes.astype(int) - wanted.astype(int)).max() <= 1  # other batch, last bit
    facts = store.manifest["features"]
    assert facts["model"] == MODEL
    assert facts["width"] == 64
    assert 0.3 < facts["kept"] <= 1


def test_patches_follow_the_grid(weights: Path) -> None:
    """A bright corner moves the patch that lies there most."""
    transformer = VisionTransformer(MODEL, weights, 4)
    images = torch.zeros(2, 3, 16, 16)
    images[1, :, 12:, :4] = 1.0
    found = transformer(images)
    assert found.shape == (2, 16, 64)
    change = (transformer.trunk.patch_embed(transformer.prepare(images))).diff(dim=0)[0]
    assert int(change.norm(dim=-1).argmax()) == 12
    assert not transformer.train().training


def test_an_interrupted_pass_ends_as_an_undisturbed_one(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """A damaged chunk, a lost commit and a lost codec are made again, byte for byte."""
    tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    broken = tokenize(recipe, tokenizer, tmp_path / "b.vgs")
    (tmp_path / "b.vgs" / "commits" / "00001.json").unlink()
    (tmp_path / "b.vgs" / CODEC).unlink()
    (tmp_path / "b.vgs" / "features" / "c" / "2" / "0" / "0" / "0").write_bytes(b"damaged")
    assert len(broken.verify()) >= 3
    tokenize(recipe, tokenizer, tmp_path / "b.vgs", PassMode.RESUME)
    assert files_below(tmp_path / "b.vgs") == files_below(tmp_path / "a.vgs")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_keeps_the_same_features(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Its workers load the transformer and the store's codec themselves."""
    import ray

    inline = tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    found = tokenize(recipe, tokenizer, tmp_path / "b.vgs", engine=Engine.RAY)
    ray.shutdown()
    assert found.verify() == []
    codes, wanted = (store.group["features"][:].astype(int) for store in (found, inline))
    assert np.abs(codes - wanted).max() <= 1  # a worker has one thread: the last bit may differ
    assert codes.any()


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


def test_other_features_are_refused(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """A store is not continued with other components, nor without any."""
    tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    features = recipe.tokenize.features
    assert features is not None
    for other in (replace(features, dims=4), None):
        changed = replace(recipe, tokenize=replace(recipe.tokenize, features=other))
        with pytest.raises(StoreError, match="other"):
            tokenize(changed, tokenizer, tmp_path / "a.vgs", PassMode.RESUME)


def test_bad_weights_are_named(tmp_path: Path, weights: Path) -> None:
    """A missing file, a file of something else, another model's, a name timm does not know."""
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    for model, path, words in (
        (MODEL, tmp_path / "none.pth", "is no file"),
        (MODEL, tmp_path / "text.pth", f"text.pth does not hold the weights of {MODEL}"),
        (MODEL, tmp_path / "other.pth", f"other.pth does not hold the weights of {MODEL}"),
        ("vit_none", weights, "timm knows no model 'vit_none'"),
    ):
        with pytest.raises(InputError, match=words):
            VisionTransformer(model, path, 4)


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


def test_a_store_without_features_cannot_be_aligned_with(tmp_path: Path, store: Store) -> None:
    """The error names both remedies; so does a block that is not there."""
    with pytest.raises(StoreError, match=r"holds no features.*tokenize.features"):
        fit(store, tmp_path / "run", [GeneratorKind.CONTENT], align=0.5, align_block=1)
    with pytest.raises(ValueError, match=r"align_block 8 is beyond .* 1 blocks"):
        fit(store, tmp_path / "run", [GeneratorKind.CONTENT], align=0.5)


def test_alignment_is_one_minus_the_cosine() -> None:
    """Against the sum written out, with the projector's own output."""
    torch.manual_seed(0)
    aligner = Aligner(8, random_codec())
    hidden, codes = torch.randn(2, 4, 8), torch.randint(256, (2, 4, 3), dtype=torch.uint8)
    found, wanted = aligner.projector(hidden).detach(), aligner.codec.decode(codes)
    cosines = [
        float(f @ w / (f.norm() * w.norm()))
        for f, w in zip(found.flatten(0, 1), wanted.flatten(0, 1), strict=True)
    ]
    assert float(aligner(hidden, codes).detach()) == pytest.approx(1 - sum(cosines) / 8, abs=1e-5)


def curve(path: Path) -> list[Any]:
    """The alignment term by step."""
    return [line["align"] for line in lines_of(path / "metrics.jsonl")]


def test_training_aligns_and_resumes_exactly(tmp_path: Path) -> None:
    """The term falls on a store that is learnt by heart; a resumed run has the same curve."""
    store = make_store(tmp_path / "a.vgs", 4, codec=random_codec())
    settings = {"steps": 60, "align": 0.5, "align_block": 1, "lr": 0.1, "checkpoint_every": 20}
    fit(store, tmp_path / "whole", [GeneratorKind.CONTENT], **settings)
    terms = curve(tmp_path / "whole")
    assert len(terms) == 60
    assert terms[-1] < 0.6 * terms[0]
    fit(store, tmp_path / "half", [GeneratorKind.CONTENT], **settings)
    last = tmp_path / "half" / "checkpoints" / "step-00000060"
    for name in last.iterdir():
        name.unlink()
    last.rmdir()
    fit(store, tmp_path / "half", [GeneratorKind.CONTENT], resume=True, **settings)
    assert curve(tmp_path / "half") == terms
    one, two = (files_below(tmp_path / run) for run in ("whole", "half"))
    assert one["content.safetensors"] == two["content.safetensors"]


def test_inspect_tells_what_is_kept(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Model, components, bytes a view, share of the variance."""
    tokenize(recipe, tokenizer, tmp_path / "a.vgs")
    said = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.vgs")]).output
    assert f"features    {MODEL}, {DIMS} of 64 components in a byte each: 80 bytes a view" in said
    assert json.loads((tmp_path / "a.vgs" / "manifest.json").read_text())["recipe"]["tokenize"][
        "features"
    ] == {"model": MODEL, "dims": DIMS}
