"""One chunk of images -> sequences -> store. The engine only decides where it runs.

Legend: B image of a batch, X view, N position, T token, S stage, P component of a stored feature,
D row or column of pixels or of the grid.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from einops import rearrange

from nvg.choices import EncoderPrecision
from nvg.distributed import default_device
from nvg.errors import WorkError
from nvg.format.base import ERROR, FEATURES, OK
from nvg.store import open_writer
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from nvg.tokenizer.image_batch import ImageBatch
from pipeline.images.blocks import UNREAD, Block
from pipeline.images.pixels import Fix
from pipeline.images.recipe_images import RecipeImages
from pipeline.sources import Place, Row, SourceError
from pipeline.tokenize.batches import batch_encoder
from pipeline.tokenize.features import FeatureEncoder, FeatureJob
from pipeline.tokenize.plan import ChunkTask

USED = ("pixels", "segments")  # columns that tokens replace


class ChunkDecoder:
    """Turns a task into a block of pixels; travels to workers without the list of all rows."""

    def __init__(
        self, images: RecipeImages, classes: list[str], threads: int = 1, path: str = ""
    ) -> None:
        self.images, self.threads = images.without_rows(classes), threads
        self.place = Place(path) if path else None

    def __call__(self, task: ChunkTask) -> Block:
        """The pixels of one chunk, see `decode_rows`, and columns `chunk`, `row`, `decode_seconds`.

        Seconds of the chunk are divided evenly among its rows. WorkError where the source has gone
        away: what storage fails to read is no bad image.
        """
        began = time.perf_counter()
        listed = self._listed(task)
        try:
            block = self.images.block(listed, self.threads, task.isolated)
        except OSError as error:
            raise self._gone(str(error)) from error
        self._require_source(block)
        rows = np.arange(task.start, task.start + len(listed))
        seconds = _per_row(began, len(rows))
        return {
            "chunk": np.full(len(rows), task.chunk),
            "row": rows,
            "decode_seconds": seconds,
        } | block

    def _listed(self, task: ChunkTask) -> list[Row]:
        """The rows of a task; WorkError where their file cannot be listed just now."""
        try:
            return list(task.rows)
        except SourceError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno is not None:
                raise self._gone(str(error)) from error
            raise
        except OSError as error:
            raise self._gone(str(error)) from error

    def _require_source(self, block: Block) -> None:
        """WorkError where no image of a chunk could be read, or some and the source is not there.

        A single file that cannot be read becomes an error row, which `--resume` tries again.
        """
        unread = [reason for reason in block["reason"] if reason.startswith(UNREAD)]
        if unread and (len(unread) == len(block["reason"]) > 1 or not self._is_there()):
            raise self._gone(unread[0])

    def _is_there(self) -> bool:
        try:
            return self.place is None or self.place.exists()
        except Exception:  # of any storage
            return False

    def _gone(self, reason: str) -> WorkError:
        why = reason.removeprefix(f"{UNREAD}: ")
        return WorkError(
            f"{self.place or 'the source'} {UNREAD} just now ({why}): see to the disk or the "
            "connection, then go on with --resume"
        )


class ChunkTokenizer:
    """Holds the encoder and turns decoded blocks into tokens; one per worker process.

    With `features` it also keeps features of the images, see `pipeline.features`.
    """

    def __init__(
        self,
        tokenizer: Path,
        batch_size: int,
        threads: int | None = None,
        features: FeatureJob | None = None,
        precision: EncoderPrecision = EncoderPrecision.FP32,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.device = default_device()
        # `with_tokenizer` has asked whose word the builder is.
        self.model: Autoencoder = load_autoencoder(tokenizer, trust=True).to(self.device)
        self.batch_size = batch_size
        self.features = FeatureEncoder(features, self.device) if features else None
        self.encode = batch_encoder(self.model, precision, self.features)

    def __call__(self, block: Block) -> Block:
        """Replace the columns USED by leaves [B, X, N], content [B, X, T], stage_error [B, S].

        And by features [B, X, N, P], where the store keeps them.
        """
        began = time.perf_counter()
        pixels = block["pixels"]
        geometry = self.model.config.geometry
        count, views = pixels.shape[:2]
        leaves = np.zeros((count, views, geometry.positions), geometry.leaf_name)
        content = np.zeros((count, views, geometry.tokens), np.uint16)
        error = np.full((count, geometry.stages), np.nan, np.float32)
        dims = self.features.dims if self.features else 0
        features = np.zeros((count, views, geometry.positions, dims), np.uint8)
        valid = np.flatnonzero(block["reason"] == "")
        starts = range(0, len(valid), self.batch_size)
        parts = [valid[start : start + self.batch_size] for start in starts]
        made = self.encode(_images(block, rows) for rows in parts)
        for rows, found in zip(parts, made, strict=True):
            split = [rearrange(p.numpy(), "(b v) ... -> b v ...", v=views) for p in found]
            leaves[rows], content[rows], error[rows] = split[0], split[1], split[2].mean(1)
            if self.features:
                features[rows] = split[3]
        kept = {name: column for name, column in block.items() if name not in USED}
        tokens = {"leaves": leaves, "content": content, "stage_error": error}
        tokens |= {FEATURES: features} if self.features else {}
        return kept | tokens | {"encode_seconds": _per_row(began, count)}


def _images(block: Block, rows: np.ndarray[Any, Any]) -> ImageBatch:
    """All views of some rows."""
    pixels = rearrange(block["pixels"][rows], "b v c y x -> (b v) c y x")
    if "segments" not in block:
        return ImageBatch(pixels)
    return ImageBatch(pixels, rearrange(block["segments"][rows], "b v n -> (b v) n"))


def commit_chunk(block: Block, store_path: str) -> Block:
    """Write a tokenized block to the store; returns its counts and seconds, one row."""
    began = time.perf_counter()
    store = open_writer(store_path)
    valid = block["reason"] == ""
    error = block["stage_error"]
    index = pa.table(
        {
            "row": block["row"],
            "key": block["key"],
            "label": block["label"],
            "class": block["class"],
            "width": block["width"],
            "height": block["height"],
            "status": np.where(valid, OK, ERROR),
            "reason": block["reason"],
            "split": block["split"],
            "stage_error": pa.array(
                [list(e) if ok else None for e, ok in zip(error, valid, strict=True)],
                pa.list_(pa.float32()),
            ),
        }
    )
    arrays = {name: block[name] for name in store.arrays}
    store.write_chunk(int(block["chunk"][0]), arrays, index)
    seconds = {name: block[name].sum() for name in ("decode_seconds", "encode_seconds")}
    seconds["commit_seconds"] = time.perf_counter() - began
    counts = {"rows": len(valid), "errors": int((~valid).sum())}
    counts |= {str(fix.name): int((block["done"] & fix > 0).sum()) for fix in Fix}
    return {name: np.array([value]) for name, value in (counts | seconds).items()}


def _per_row(began: float, rows: int) -> np.ndarray[Any, Any]:
    return np.full(rows, (time.perf_counter() - began) / max(rows, 1))
