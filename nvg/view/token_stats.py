"""Codebook usage of a store's tokens, stage by stage.

Legend: B image of a batch, X view, S stage, V code, T token.
"""

from dataclasses import dataclass

import numpy as np

from nvg.format.base import StoreError
from nvg.format.index import chosen, in_split, mean_stage_error
from nvg.quantizer.usage import Counts, stage_entropy, stage_hits, stage_usage
from nvg.store import Split, Store
from nvg.store.store import VERIFY

SHOWN_CODES = 3


@dataclass(frozen=True, kw_only=True)
class StageUsage:
    """Codebook usage of one stage."""

    stage: int
    clusters: int
    codes: int
    """Codes used at least once."""
    reach: float
    """Codes used, as a fraction of the attainable maximum."""
    entropy: float
    """Entropy of its tokens in bits."""
    error: float
    """Mean squared latent residual after the stage."""
    top: list[tuple[int, float]]
    """The most used codes, each with its fraction of the stage's tokens."""


def measure_usage(store: Store, most: int | None = None) -> list[StageUsage]:
    """Usage per stage over all views of the tokenized rows, or of the first `most` of them.

    Of the rows for training only, so that it is the same whether others are held out or not. Reads
    chunk by chunk. Empty for a store without tokenized rows.
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
            with store.shown(f"chunk {chunk}"):
                content_BXT = store.stored("content", chunk)[inside]
            if content_BXT.max() >= codes:
                raise StoreError(
                    f"{store.path}: chunk {chunk}: token {content_BXT.max()} is outside the "
                    f"codebook of {codes}; {VERIFY}"
                )
            hits_SV += stage_hits(content_BXT.reshape(-1, geometry.tokens), geometry, codes)
    entropy_S = stage_entropy(hits_SV)
    is_train = in_split(store.index, Split.TRAIN)
    errors = chosen(store.index.select(["stage_error"]), is_train)
    error_S = mean_stage_error(errors, geometry.stages)
    return [
        StageUsage(
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
    """The most used codes; ties go to the lowest."""
    order_V = np.argsort(-hits_V, kind="stable")[:SHOWN_CODES]
    total = int(hits_V.sum())
    return [(int(code), int(hits_V[code]) / total) for code in order_V if hits_V[code] > 0]


def usage_lines(uses: list[StageUsage]) -> list[str]:
    """Usage as a table; empty without stages."""
    return ["stage  clusters  codes used    of max  entropy (bits)  residual"] * bool(uses) + [
        f"{use.stage:5d}  {use.clusters:8d}  {use.codes:10d}  {use.reach:8.1%}"
        f"  {use.entropy:14.2f}  {use.error:8.4f}"
        for use in uses
    ]
