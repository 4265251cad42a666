"""Features of the real images that samples are compared with, taken once and cached."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import load_file, save
from torch import Tensor

from nvg.distributed import default_device
from nvg.files import write_atomic
from nvg.metrics.generation import Features
from nvg.precision import PRECISION, Part
from nvg.pretrained.inception import Extractor
from nvg.progress import progress
from pipeline.images.blocks import RowImages
from pipeline.recipe import Recipe
from pipeline.sources import Row, open_source, split_rows

BATCH = 64


@dataclass(frozen=True)
class RealFeatures:
    """Of the images that samples are measured against, and of those held out, if any are."""

    images: Features
    heldout: Features | None


def real_features(data: Recipe, size: int, extractor: Extractor, most: int | None) -> RealFeatures:
    """Features of a recipe's centre crops of `size` pixels, at most `most` images of each part."""
    source = open_source(data.data)
    split = split_rows(source.rows, data.data.heldout)
    rows, heldout = (_evenly(part, most) for part in split)
    images = _cached(RowImages(source, rows, size), extractor, data, size)
    others = _features(RowImages(source, heldout, size), extractor) if heldout else None
    return RealFeatures(images, others)


def _evenly(rows: list[Row], most: int | None) -> list[Row]:
    """At most `most` rows, evenly spaced."""
    if most is None or len(rows) <= most:
        return rows
    return [rows[n * len(rows) // most] for n in range(most)]


def _cached(images: RowImages, extractor: Extractor, data: Recipe, size: int) -> Features:
    """Features of the real images, cached for the user under a hash of all they depend on."""
    depends_on = [
        images.source.fingerprint(),
        str(data.data.heldout),
        str(len(images)),
        str(size),
        extractor.name,
        extractor.weights,
        PRECISION[Part.FEATURES],
    ]
    key = hashlib.sha256("\n".join(depends_on).encode()).hexdigest()
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nvg"
    path = root / f"features-{key[:32]}.safetensors"
    own = ":" in extractor.name  # a user's code may change under one name
    if path.exists() and not own:
        kept = load_file(path)
        return Features(kept["values"], kept.get("logits"))
    found = _features(images, extractor)
    if not own:
        tensors = {"values": found.values}
        tensors |= {} if found.logits is None else {"logits": found.logits}
        write_atomic(path, save(tensors))
    return found


def _features(images: RowImages, extractor: Extractor) -> Features:
    """Features of rows of a source, read batch by batch."""
    starts = range(0, len(images), BATCH)

    def batches() -> Iterator[Tensor]:
        for start in progress(starts, desc="real images", unit="batch"):
            rows = np.arange(start, min(start + BATCH, len(images)))
            yield images.batch(rows).tensors(default_device())[0]

    return Features.of(extractor, batches())
