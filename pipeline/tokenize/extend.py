"""Add the images that a source has gained to a finished store: old rows stay, new ones follow."""

from dataclasses import replace

from nvg.format.base import StoreError
from nvg.store import Store, open_writer
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.weights import fingerprint
from pipeline.images.recipe_images import RecipeImages
from pipeline.recipe import Recipe
from pipeline.sources import Rows, Source, split_rows
from pipeline.tokenize.manifest import make_manifest
from pipeline.tokenize.plan import Plan, order_bytes, rows_of, shuffled


def extend_store(out: str, recipe: Recipe, images: RecipeImages, model: Autoencoder) -> None:
    """Declare the store at `out` unfinished, with the rows of images it does not hold yet.

    The order of its rows, no longer that of the source, is kept in `rows.parquet`. A kill before
    the manifest is written changes nothing; after it, resuming does the rest. Nothing happens when
    the source has gained nothing. StoreError when the store is not finished, or lacks an image.
    """
    store = open_writer(out)
    if store.manifest.source == images.fingerprint():
        return
    if not store.finished:
        raise StoreError(f"{out} is unfinished: complete it with --resume, then extend it")
    if recipe.data.heldout and not store.manifest.val_rows:
        raise StoreError(
            f"{out} cannot be extended with data.heldout = {recipe.data.heldout}: it does not hold "
            "the held-out images, which would count as new; tokenize again"
        )
    store.require_tokenizer(fingerprint(model))
    plan = _longer_plan(store, images.source, recipe.tokenize.shuffle)
    manifest = make_manifest(recipe, images, model, plan, store.manifest.features)
    grown = ("rows", "val_rows", "classes", "source", "order")
    for name in manifest.differences(store.manifest, besides=grown):
        raise StoreError(
            f"{out} cannot be extended: it was made with another recipe ({name} differs); use "
            "that recipe"
        )
    changes = {name: getattr(manifest, name) for name in grown}
    store.lengthen(order_bytes(plan.rows), replace(store.manifest, **changes))


def _longer_plan(store: Store, source: Source, shuffle: bool) -> Plan:
    """The store's rows, then the source's new ones in its order; new classes after the old.

    Stored rows keep their split. New ones are for training unless the source says otherwise; the
    val rows among them come last. With
    `shuffle` the new ones to train on are shuffled among themselves.
    """
    old = rows_of(store.index)
    known = {row.key for row in old}
    lost = known.copy()
    lost.difference_update(row.key for row in source.rows)
    if lost:
        raise StoreError(
            f"{store.path} holds {len(lost)} images that the source has lost, such as {min(lost)}: "
            "restore them, or tokenize again"
        )
    classes = list(store.manifest.classes)
    classes += [name for name in source.classes if name not in set(classes)]
    ids = {name: label for label, name in enumerate(classes)}
    names = source.classes
    new = Rows.of(
        replace(row, label=ids[names[row.label]] if row.label >= 0 else -1)
        for row in source.rows
        if row.key not in known
    )
    train, val = split_rows(new, 0)
    train = shuffled(train) if shuffle else train
    return Plan(old + train + val, classes, is_extended=True)
