"""Codebook usage of a store's tokens, stage by stage.

Legend: B image of a batch, M vector of a flat list, X view, S stage, V code, T token.
"""

from dataclasses import dataclass

import numpy as np

from nvg.format.base import OK, StoreError
from nvg.format.index import chosen, has_status, in_split, stage_error_sum
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
    hits_SV = np.zeros((geometry.stages, codes), np.int64)
    error_S, count, left = np.zeros(geometry.stages), 0, len(store) if most is None else most
    for chunk in store.committed():
        part = store.index_part(chunk)
        is_train = in_split(part, Split.TRAIN)
        errors_S, errors = stage_error_sum(chosen(part, is_train), geometry.stages)
        error_S, count = error_S + errors_S, count + errors
        inside = np.flatnonzero(is_train & has_status(part, OK))[:left]
        if len(inside):
            hits_SV += stage_hits(_tokens(store, chunk, inside), geometry, codes)
            left -= len(inside)
    if not hits_SV.any():
        return []
    entropy_S = stage_entropy(hits_SV)
    error_S /= max(count, 1)
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


def _tokens(store: Store, chunk: int, rows: Counts) -> Counts:
    """Tokens of some rows of a chunk, of all views, [M, T]. StoreError beyond the codebook."""
    codes = store.manifest.codebook_size
    with store.shown(f"chunk {chunk}"):
        content_BXT = store.stored("content", chunk)[rows]
    if content_BXT.max() >= codes:
        raise StoreError(
            f"{store.path}: chunk {chunk}: token {content_BXT.max()} is outside the codebook of "
            f"{codes}; {VERIFY}"
        )
    return content_BXT.reshape(-1, store.geometry.tokens)


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
