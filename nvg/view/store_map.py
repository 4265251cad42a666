"""A map of a whole store: every image as a point, images with like first stages close together.

An image is described by the code vectors of its tokens of the first three stages, whose clusters
come in one order in all images, and placed by the two principal components of these. Memory does
not grow with the store, but for twelve bytes an image.

Legend: R row of the store, F feature channel, V code, C channel.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from nvg.errors import InputError
from nvg.format.base import OK
from nvg.format.index import has_status, numbers
from nvg.store import Store

STAGES = 3
MOST_MEASURED = 100_000  # rows, evenly spread, that the components are measured on
EDGE = 0.001  # fraction of the rows beyond each border, which are drawn on it
LAST = 65_535

Floats = np.ndarray[Any, np.dtype[np.float32]]


def store_map(store: Store, codebook_VC: Floats) -> bytes:
    """The points of all rows with tokens: rows u32, x u16, y u16, labels i32, little-endian.

    One array after the other. InputError for fewer than three such rows.
    """
    rows = store.ok_rows(None)
    if len(rows) < 3:
        raise InputError(f"{store.path} has {len(rows)} tokenized rows: a map needs 3")
    mean_F, axes_F2 = _components(store, rows, codebook_VC)
    place_R2 = np.concatenate(
        [(each - mean_F) @ axes_F2 for each in _features(store, rows, codebook_VC, every=1)]
    )
    low, high = np.quantile(place_R2, [EDGE, 1 - EDGE], axis=0)
    scaled_R2 = ((place_R2 - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    points_R2 = (scaled_R2 * LAST).round().astype("<u2")
    labels = np.concatenate(
        [numbers(part, "label")[has_status(part, OK)] for part in store.index_tables()]
    )
    parts = (rows.astype("<u4"), points_R2[:, 0], points_R2[:, 1], labels.astype("<i4"))
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _components(store: Store, rows: Any, codebook_VC: Floats) -> tuple[Floats, Floats]:
    """Mean [F] and first two principal axes [F, 2], each pointing where its largest entry does."""
    every = -(-len(rows) // MOST_MEASURED)
    count = 0
    total_F: Any = 0.0
    moment_FF: Any = 0.0
    for feature_RF in _features(store, rows, codebook_VC, every):
        wide_RF = feature_RF.astype(np.float64)
        count += len(wide_RF)
        total_F, moment_FF = total_F + wide_RF.sum(0), moment_FF + wide_RF.T @ wide_RF
    mean_F = total_F / count
    axes_FF = np.linalg.eigh(moment_FF / count - np.outer(mean_F, mean_F))[1]
    axes_F2 = axes_FF[:, [-1, -2]]
    axes_F2 = axes_F2 * np.sign(axes_F2[np.abs(axes_F2).argmax(0), [0, 1]])
    return mean_F.astype(np.float32), axes_F2.astype(np.float32)


def _features(store: Store, rows: Any, codebook_VC: Floats, every: int) -> Iterator[Floats]:
    """Descriptions [R, F] of the first views of rows, of every so many, chunk by chunk."""
    tokens = (1 << min(STAGES, store.geometry.stages)) - 1
    for chunk in store.committed():
        whole = store.chunk_slice(chunk)
        inside = rows[slice(*np.searchsorted(rows, (whole.start, whole.stop)))]
        inside = inside[inside % every == 0] - whole.start
        if len(inside):
            content_RT = store.content[whole][inside, 0, :tokens].astype(np.int64)
            if content_RT.max() >= len(codebook_VC):
                raise InputError(f"{store.path}: chunk {chunk} has a token outside the codebook")
            yield codebook_VC[content_RT].reshape(len(inside), -1)
