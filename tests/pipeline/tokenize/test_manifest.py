"""The manifest of a store, and what a new store holds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nvg.choices import ChildOrder, EncoderPrecision, PhiCount, PhiForm
from nvg.format.base import StoreError
from nvg.format.checks import chunk_faults
from nvg.format.manifest import Manifest
from nvg.geometry import Geometry, canonical
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Split, Store, open_store
from nvg.tokenizer.autoencoder import Autoencoder, Detokenizer, load_autoencoder
from nvg.tokenizer.detokenizer import load_detokenizer
from nvg.weights import fingerprint, read_header
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe, View
from pipeline.sources import FolderSource, Rows, split_rows
from pipeline.tokenize.chunk import ChunkDecoder, ChunkTokenizer, commit_chunk
from pipeline.tokenize.manifest import make_manifest, prepare_store
from pipeline.tokenize.plan import Plan, plan_chunks, plan_rows
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.store.makers import write_sealed
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model, write_autoencoder
from tests.pipeline.tokenize.makers import run

OLD_STORE = Path(__file__).parents[2] / "golden" / "v0.1" / "tokens.vgs"
RELEASE = replace(
    tiny_model(),
    phi=PhiForm.RESIDUAL,
    phis=PhiCount.STAGE,
    child_order=ChildOrder.MERGING,
    outer_convs=False,
)


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


def test_only_another_child_order_is_told(recipe: Recipe) -> None:
    """A manifest in order of position is as it was before there was a choice."""
    names = []
    for order in ChildOrder:
        config = replace(tiny_model(), child_order=order)
        manifest = made_manifest(recipe, tiny_autoencoder(config=config))
        names.append(json.loads(manifest.to_bytes()).get("child_order"))
        assert Manifest.from_bytes(manifest.to_bytes(), "a.vgs") == manifest
    assert names == [None, "merging"]


def test_only_a_weight_of_space_is_told(recipe: Recipe, tmp_path: Path) -> None:
    """A manifest of another builder is as it was; a store is not resumed with another weight."""
    models = [tiny_autoencoder()]
    for weight in (0.0, 0.7):
        config = replace(tiny_model(), builder="greedy+space", space_weight=weight)
        models.append(tiny_autoencoder(config=config))
    manifests = [made_manifest(recipe, model) for model in models]
    tables = [json.loads(manifest.to_bytes()) for manifest in manifests]
    assert "space_weight" not in tables[0]
    assert [table["space_weight"] for table in tables[1:]] == [0.0, 0.7]
    assert Manifest.from_bytes(manifests[2].to_bytes(), "a.vgs") == manifests[2]
    out = str(tmp_path / "a.vgs")
    prepare_store(out, manifests[1], models[1], resume=False)
    with pytest.raises(StoreError, match="tokenizer"):
        prepare_store(out, manifests[2], models[2], resume=True)


def test_only_another_precision_is_told(recipe: Recipe, tmp_path: Path) -> None:
    """A manifest in fp32 is as it was before the choice; a store is not resumed in another."""
    model, out = tiny_autoencoder(), str(tmp_path / "a.vgs")
    recipes = [
        replace(recipe, tokenize=replace(recipe.tokenize, precision=precision))
        for precision in EncoderPrecision
    ]
    manifests = [made_manifest(each, model) for each in recipes]
    tables = [manifest.recipe["tokenize"] for manifest in manifests]
    assert [table.get("precision") for table in tables] == [None, "tf32", "bf16"]
    assert manifests[0] == made_manifest(recipe, model)
    prepare_store(out, manifests[0], model, resume=False)
    for manifest in manifests[1:]:
        with pytest.raises(StoreError, match="begun with another recipe"):
            prepare_store(out, manifest, model, resume=True)


@pytest.mark.thorough
@pytest.mark.parametrize("form", PhiForm)
@pytest.mark.parametrize("count", PhiCount)
def test_a_store_says_how_its_phi_work(
    recipe: Recipe, tmp_path: Path, form: PhiForm, count: PhiCount
) -> None:
    """Training and viewing rebuild the tokenizer's own canvases from what the store carries."""
    model = tiny_autoencoder(config=replace(RELEASE, phi=form, phis=count))
    manifest = made_manifest(recipe, model)
    store = prepare_store(str(tmp_path / "a.vgs"), manifest, model, resume=False)
    quantizer = load_quantizer(store.read("tokenizer.safetensors"), Geometry(4))
    viewer = load_detokenizer(store.read("detokenizer.safetensors"))
    assert [refiner.form for refiner in quantizer.refiners] == [form] * len(quantizer.refiners)
    assert quantizer.phis is viewer.quantizer.phis is count
    content, leaves = torch.arange(31)[None] % 16, torch.arange(16)[None]
    expected = model.quantizer.canvas(content, leaves)
    assert torch.equal(quantizer.canvas(content, leaves), expected)
    assert torch.equal(viewer.quantizer.canvas(content, leaves), expected)
    assert torch.equal(viewer.decode(content, leaves), model.decode(content, leaves))


def tokenized(recipe: Recipe, path: Path, order: ChildOrder) -> Store:
    """The store of the recipe's images by one tokenizer, its children in this order."""
    config = replace(RELEASE, child_order=order)
    write_autoencoder(path / f"{order}", config=config)
    section = replace(recipe.autoencoder, model=config)
    run(replace(recipe, autoencoder=section), path / f"{order}", path / f"{order}.vgs")
    return open_store(str(path / f"{order}.vgs"))


@pytest.mark.thorough
def test_both_orders_hold_the_same_hierarchies(recipe: Recipe, tmp_path: Path) -> None:
    """One tokenizer's stores in either order are intact; only the labels of clusters differ."""
    by_position, by_merging = (tokenized(recipe, tmp_path, order) for order in ChildOrder)
    assert by_position.manifest.child_order is not ChildOrder.MERGING
    assert by_merging.manifest.child_order is ChildOrder.MERGING
    assert by_position.verify() == by_merging.verify() == []
    old_RN, new_RN = (
        torch.from_numpy(store.leaves[:][:, 0]) for store in (by_position, by_merging)
    )
    assert not torch.equal(new_RN, old_RN)
    assert torch.equal(canonical(new_RN), old_RN)


def test_a_store_in_order_of_merging_says_so_and_is_intact(recipe: Recipe, tmp_path: Path) -> None:
    """Without the key of its manifest it is taken for one in order of position, and is not."""
    store = tokenized(recipe, tmp_path, ChildOrder.MERGING)
    assert store.manifest.child_order is ChildOrder.MERGING
    assert store.verify() == []
    file = Path(store.path, "manifest.json")
    table = json.loads(file.read_text())
    assert table.pop("child_order") == "merging"
    write_sealed(file, table)
    assert open_store(store.path).verify() == [
        f"chunk {chunk}: leaves are not in canonical child order" for chunk in range(3)
    ]


def test_an_old_store_is_in_order_of_position() -> None:
    """Its manifest names no order; any other than that of position is a fault."""
    store = open_store(str(OLD_STORE))
    assert "child_order" not in json.loads(store.read("manifest.json"))
    assert store.manifest.child_order is not ChildOrder.MERGING
    record, part, rows = store.commit_record(0), store.index_part(0), store.chunk_slice(0)
    arrays = store.read_chunk(0)
    assert chunk_faults(arrays, record, part, rows, store.manifest) == []
    arrays["leaves"] = arrays["leaves"] ^ store.geometry.positions // 2
    faults = chunk_faults(arrays, record, part, rows, store.manifest)
    assert "leaves are not in canonical child order" in faults


def test_a_half_written_store_goes_on_as_it_began(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """Before held-out rows were stored: it ends without them, byte for byte as it did then.

    That is the store of a source that has the other images only, but for what it says of that.
    """
    aside = replace(recipe, data=replace(recipe.data, heldout=3))
    images, model = open_images(aside), load_autoencoder(tokenizer)
    rows = split_rows(images.source.rows, 3)[0]
    before = Plan(rows, images.source.classes)
    prepare_store(
        str(tmp_path / "a.vgs"), make_manifest(aside, images, model, before), model, resume=False
    )
    decode = ChunkDecoder(images, before.classes)
    commit_chunk(
        ChunkTokenizer(tokenizer, 3)(decode(plan_chunks(rows, 4)[1])), str(tmp_path / "a.vgs")
    )
    run(aside, tokenizer, tmp_path / "a.vgs", resume=True)
    for row in split_rows(images.source.rows, 3)[1]:
        Path(recipe.data.path, row.key).unlink()
    run(recipe, tokenizer, tmp_path / "b.vgs")
    found, wanted = (files_below(tmp_path / name) for name in ("a.vgs", "b.vgs"))
    facts, other = (json.loads(files.pop("manifest.json")) for files in (found, wanted))
    assert found == wanted
    assert {name for name in facts if facts[name] != other[name]} == {"recipe", "sha256", "source"}
    assert facts.keys() == other.keys()


def test_held_out_rows_follow_the_others(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Row k is the image that it is without them, with the same tokens; they are intact too."""
    views = replace(recipe.tokenize, views=(View.CENTER, View.RANDOM))
    recipe = replace(recipe, tokenize=views)
    run(replace(recipe, data=replace(recipe.data, heldout=3)), tokenizer, tmp_path / "a.vgs")
    store = open_store(str(tmp_path / "a.vgs"))
    assert (len(store), store.count(Split.VAL), store.verify()) == (12, 3, [])
    held_out = [entry["key"] for entry in store.index.to_pylist() if entry["split"] == "val"]
    for key in held_out:
        Path(recipe.data.path, key).unlink()
    run(recipe, tokenizer, tmp_path / "b.vgs")
    alone = open_store(str(tmp_path / "b.vgs"))
    assert store.index.slice(0, 9).to_pylist() == alone.index.to_pylist()
    assert (store.leaves[:9] == alone.leaves[:]).all()
    assert (store.content[:9] == alone.content[:]).all()
    assert store.content[9:].any()
    assert store.leaves.shape[1] == 2


def test_a_store_from_before_its_source_had_splits_is_not_resumed(
    tokenizer: Path, tmp_path: Path
) -> None:
    """All its rows are for training; the line says why it cannot go on."""
    write_image_folder(tmp_path / "images" / "train")
    write_image_folder(tmp_path / "images" / "val")
    recipe, out = tiny_recipe(tmp_path / "images"), str(tmp_path / "a.vgs")
    images, model = open_images(recipe), load_autoencoder(tokenizer)
    rows = Rows.of(replace(row, split=Split.TRAIN) for row in images.source.rows)
    old = Plan(rows, ["train", "val"])
    prepare_store(out, make_manifest(recipe, images, model, old), model, resume=False)
    with pytest.raises(StoreError, match=r"a\.vgs cannot be resumed: .* did not tell the splits"):
        run(recipe, tokenizer, out, resume=True)


def test_a_store_is_not_resumed_in_another_order(recipe: Recipe, tmp_path: Path) -> None:
    """The weights are the same, the leaves would not be."""
    out = str(tmp_path / "a.vgs")
    made = tiny_autoencoder(config=RELEASE)
    prepare_store(out, made_manifest(recipe, made), made, resume=False)
    other = tiny_autoencoder(config=replace(RELEASE, child_order=ChildOrder.POSITION))
    with pytest.raises(StoreError, match=r"tokenizer|child_order"):
        prepare_store(out, made_manifest(recipe, other), other, resume=True)
    prepare_store(out, made_manifest(recipe, made), made, resume=True)
