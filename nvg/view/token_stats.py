"""What a store's tokens use of the codebook, stage by stage.

Legend: B image of a batch, X view, S stage, V code, T token.
"""

from dataclasses import dataclass

import numpy as np

from nvg.quantizer.usage import Counts, stage_entropy, stage_hits, stage_usage
from nvg.store import Store
from nvg.store.index import mean_stage_error

SHOWN_CODES = 3


@dataclass(frozen=True, kw_only=True)
class StageUse:
    """One stage's share in a store."""

    stage: int
    clusters: int
    codes: int
    """How many codes it uses."""
    reach: float
    """The same as a fraction of the attainable maximum."""
    entropy: float
    """Of its tokens, in bits."""
    error: float
    """Mean squared latent residual after it."""
    top: list[tuple[int, float]]
    """The most used codes, each with its fraction of the stage's tokens."""


def stage_uses(store: Store, most: int | None = None) -> list[StageUse]:
    """Each stage's use over the readable images of a store, or the first `most` of them.

    Chunk by chunk, every view. Empty without such an image.
    """
    geometry, codes = store.geometry, store.manifest.codebook_size
    good = store.ok_rows()[:most]
    if not len(good):
        return []
    hits_SV = np.zeros((geometry.stages, codes), np.int64)
    for chunk in range(store.chunks):
        rows = store.chunk_slice(chunk)
        inside = good[(good >= rows.start) & (good < rows.stop)] - rows.start
        if len(inside):
            content_BXT = store.content[rows][inside]
            hits_SV += stage_hits(content_BXT.reshape(-1, geometry.tokens), geometry, codes)
    entropy_S = stage_entropy(hits_SV)
    error_S = mean_stage_error(store.index, geometry.stages)
    return [
        StageUse(
            stage=stage,
            clusters=geometry.clusters(stage),
            codes=int((hits_SV[stage] > 0).sum()),
            reach=float(reach),
            entropy=abs(float(entropy_S[stage])),
            error=float(error_S[stage]),
            top=_top(hits_SV[stage]),
        )
        for stage, reach in enumerate(stage_usage(hits_SV))
    ]


def _top(hits_V: Counts) -> list[tuple[int, float]]:
    """The most used codes, the lowest first of equals."""
    order_V = np.argsort(-hits_V, kind="stable")[:SHOWN_CODES]
    total = int(hits_V.sum())
    return [(int(code), int(hits_V[code]) / total) for code in order_V if hits_V[code] > 0]


def use_lines(uses: list[StageUse]) -> list[str]:
    """A table of them."""
    return ["stage  clusters  codes used  of reach  entropy (bits)  residual"] * bool(uses) + [
        f"{use.stage:5d}  {use.clusters:8d}  {use.codes:10d}  {use.reach:8.1%}"
        f"  {use.entropy:14.2f}  {use.error:8.4f}"
        for use in uses
    ]
