"""The summary of a store, shown on a terminal, as plain text, or as JSON."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from nvg.errors import InputError
from nvg.format.base import ERROR
from nvg.format.index import reasons_of
from nvg.format.manifest import FeatureInfo
from nvg.store import Split, Store
from nvg.view.token_stats import StageUsage, measure_usage

MOST_ROWS = 20_000  # that usage is measured on


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """A store at a glance."""

    path: str
    finished: bool
    rows: int
    val_rows: int
    """Held out of these."""
    committed: int
    """Chunks that are committed."""
    chunks: int
    chunk_rows: int
    classes: int
    views: list[str]
    grid: int
    last_stage: int
    tokens: int
    codebook_size: int
    latent_dim: int
    builder: str
    space_weight: float | None
    """Of the builder `greedy+space` only."""
    parts: list[str]
    """Of a linked store: where the stores of its rows are, as it names them, and how many."""
    source: str
    tokenizer: str
    features: FeatureInfo | None
    bytes: int
    """Of arrays, index and commit records, without the tokenizer's weights."""
    indexed: int
    """Rows with an index entry; all of them once finished."""
    errors: int
    reasons: dict[str, int]
    """Error rows by reason."""
    stages: list[StageUsage]
    """Codebook usage over the first tokenized rows for training, at most `MOST_ROWS`."""

    @property
    def bytes_per_image(self) -> float:
        """Averaged over the rows that are committed."""
        return self.bytes / max(self.indexed, 1)


def summarize(store: Store) -> StoreSummary:
    """Summarize a store, finished or not."""
    manifest, geometry, indexed, reasons = store.manifest, store.geometry, 0, Counter[str]()
    for part in store.index_tables():
        indexed += len(part)
        reasons.update(reasons_of(part, ERROR))
    return StoreSummary(
        path=store.path,
        finished=store.finished,
        rows=len(store),
        val_rows=store.count(Split.VAL),
        committed=len(store.committed()),
        chunks=store.chunks,
        chunk_rows=manifest.chunk_rows,
        classes=len(manifest.classes),
        views=list(manifest.views),
        grid=geometry.grid,
        last_stage=geometry.K,
        tokens=geometry.tokens,
        codebook_size=manifest.codebook_size,
        latent_dim=manifest.latent_dim,
        builder=manifest.builder,
        space_weight=manifest.space_weight,
        parts=[f"{p.path} ({p.rows[1] - p.rows[0]} rows)" for p in manifest.parts or ()],
        source=manifest.source,
        tokenizer=manifest.tokenizer,
        features=manifest.features,
        bytes=_bytes(store),
        indexed=indexed,
        errors=sum(reasons.values()),
        reasons=dict(sorted(reasons.items())),
        stages=measure_usage(store, MOST_ROWS),
    )


def split_note(rows: int, val_rows: int) -> str:
    """The splits, " (1,437 train, 360 val)", after a count of rows; "" where none is held out."""
    return f" ({rows - val_rows:,} train, {val_rows:,} val)" if val_rows else ""


def find_key(store: Store, key: str) -> int:
    """The row of an image by its key; the InputError for an unknown key names a similar one."""
    import pyarrow.compute as pc  # 0.1 s to import

    tail, like = key.rsplit("/", 1)[-1], list[str]()
    for part in store.index_tables():
        keys = part["key"]
        at = np.flatnonzero(pc.equal(keys, key).to_numpy())
        if len(at):
            return int(part["row"][int(at[0])].as_py())
        if tail and not like:
            like = keys.filter(pc.match_substring(keys, tail)).slice(0, 1).to_pylist()
    hint = f"; there is {like[0]!r}" if like else "; keys are paths within the source"
    raise InputError(f"{store.path} has no image {key!r}{hint}")


def _bytes(store: Store) -> int:
    files = store.fs.find(store.root, detail=True)
    return sum(
        int(info["size"]) for name, info in files.items() if not name.endswith(".safetensors")
    )
