"""A folder of good and bad images, and passes over it."""

from pathlib import Path

from nvg.tokenizer.autoencoder import load_autoencoder
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe, TokenizeConfig, View
from pipeline.tokenize.chunk import ChunkDecoder, ChunkTokenizer, commit_chunk
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.tokenize.manifest import make_manifest, prepare_store
from pipeline.tokenize.plan import plan_chunks, plan_rows
from pipeline.tokenize.report import Report
from tests.makers import tiny_recipe, write_image_folder

TOKENIZE = TokenizeConfig(chunk_rows=4, batch_size=3, views=(View.CENTER, View.FLIP))


BAD = {"ant/bad.jpg": b"text", "bee/000.png": b"", "cat/z.gif": b"GIF89a"}


ROWS, CHUNKS = 20, 5  # 3 classes of 6 images, of which one is spoilt, and two bad files more


def photos(path: Path) -> Recipe:
    """A recipe over a new folder of 20 files, three of them bad."""
    write_image_folder(path, per_class=6)
    for key, data in BAD.items():
        (path / key).write_bytes(data)
    return tiny_recipe(path, tokenize=TOKENIZE)


def run(recipe: Recipe, tokenizer: Path, out: Path | str, resume: bool = False) -> Report:
    """The pass in this process."""
    mode = PassMode.RESUME if resume else PassMode.NEW
    return tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, mode)


def stopped(recipe: Recipe, tokenizer: Path, out: Path, chunks: tuple[int, ...]) -> None:
    """The store of a pass that was killed after committing only these chunks."""
    images, model = open_images(recipe), load_autoencoder(tokenizer)
    plan = plan_rows(recipe.data.heldout, images.source)
    prepare_store(str(out), make_manifest(recipe, images, model, plan), model, resume=False)
    decode = ChunkDecoder(images, plan.classes)
    encode = ChunkTokenizer(tokenizer, recipe.tokenize.batch_size)
    for task in plan_chunks(plan.rows, recipe.tokenize.chunk_rows):
        if task.chunk in chunks:
            commit_chunk(encode(decode(task)), str(out))
