"""The size of a pass, before it begins."""

import numpy as np

from nvg.errors import InputError
from nvg.format.manifest import shard_chunks
from nvg.store import open_store, store_exists
from nvg.view.summary import split_note
from pipeline.images.crops import Crops
from pipeline.images.recipe_images import open_images
from pipeline.recipe import Recipe
from pipeline.sources import Counting, left_out_lines
from pipeline.tokenize.plan import counts_file, plan_chunks, plan_rows
from pipeline.tokenize.share import Share

MOST_CHUNK_BYTES = 1 << 30  # of pixels; every worker holds a chunk or two


def plan_lines(recipe: Recipe, out: str = "", part: str | None = None) -> list[str]:
    """A dry run: rows, chunks, those committed already, and the size of the store.

    Of a share, where there are several, its chunks too.
    """
    images = open_images(recipe, Counting(kept=counts_file(out)) if out else None)
    plan = plan_rows(recipe.data.heldout, images.source, out, recipe.tokenize.shuffle)
    rows, tokenize, model = len(plan.rows), recipe.tokenize, recipe.autoencoder.model
    chunks = len(plan_chunks(plan.rows, tokenize.chunk_rows))
    done = len(open_store(out).committed()) if out and store_exists(out) else 0
    geometry, views = model.geometry, len(images.crops.names())
    leaves = np.dtype(geometry.leaf_name).itemsize * geometry.positions
    dims = tokenize.features.dims if tokenize.features else 0
    kept = geometry.positions * dims
    most = views * (leaves + 2 * geometry.tokens + kept) + 4
    # Tokens pack to the bits of a code; leaves hardly at all; an index entry takes about 40 bytes.
    token_bytes = geometry.tokens * (model.codebook_size - 1).bit_length() / 8
    about = views * (leaves + token_bytes + kept) + 40
    pixels = chunk_bytes(images.crops, tokenize.chunk_rows)
    share = Share.parse(part) if part else None
    together = shard_chunks(geometry, views, dims, tokenize.chunk_rows)
    own = share.chunks(chunks, together) if share else range(0)
    return [
        *([f"part {share}: {len(own)} chunks, from {own.start} on"] if share else []),
        f"{rows} images{split_note(rows, plan.val_rows)} x {views} views in {chunks} chunks of "
        f"{tokenize.chunk_rows}, {done} of them committed",
        *left_out_lines(images.source.left_out),
        f"about {about:.0f} bytes an image, {rows * about / 1e6:.1f} MB in all; at most {most} "
        f"bytes an image, {rows * most / 1e6:.1f} MB",
        f"a decoded chunk takes {pixels / 1e6:.1f} MB of memory, one or two per worker",
    ]


def chunk_bytes(crops: Crops, chunk_rows: int) -> int:
    """Bytes of a chunk's pixels. InputError when that is more than a worker should hold."""
    bytes_each = 3 * crops.size**2 * len(crops.names())
    if chunk_rows * bytes_each > MOST_CHUNK_BYTES:
        raise InputError(
            f"tokenize.chunk_rows {chunk_rows} makes chunks of "
            f"{chunk_rows * bytes_each / 1e9:.1f} GB of pixels: use at most "
            f"{MOST_CHUNK_BYTES // bytes_each}"
        )
    return chunk_rows * bytes_each
