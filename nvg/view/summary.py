"""Everything one screen says of a store, gathered once: for a terminal, plain text, or JSON."""

from dataclasses import dataclass

import numpy as np

from nvg.errors import InputError
from nvg.store import Store
from nvg.store.format import ERROR
from nvg.store.index import reasons_of
from nvg.store.manifest import FeatureInfo
from nvg.view.token_stats import StageUse, stage_uses

MOST_ROWS = 20_000  # rows the usage statistics are taken from


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """A store at a glance."""

    path: str
    finished: bool
    rows: int
    committed: int
    """Chunks."""
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
    source: str
    tokenizer: str
    features: FeatureInfo | None
    bytes: int
    """Of arrays, index and commit records; the tokenizer's weights are not counted."""
    indexed: int
    """Rows that have an index entry, all when finished."""
    errors: int
    reasons: dict[str, int]
    """Error rows by reason."""
    stages: list[StageUse]
    """Over the first readable rows, `MOST_ROWS` at most."""

    @property
    def bytes_per_image(self) -> float:
        """Of the rows that are there."""
        return self.bytes / max(self.indexed, 1)


def summarize(store: Store) -> StoreSummary:
    """Look at a store, finished or not."""
    manifest, geometry, index = store.manifest, store.geometry, store.index
    reasons = reasons_of(index, ERROR)
    return StoreSummary(
        path=store.path,
        finished=store.finished,
        rows=len(store),
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
        source=manifest.source,
        tokenizer=manifest.tokenizer,
        features=manifest.features,
        bytes=_bytes(store),
        indexed=len(index),
        errors=sum(reasons.values()),
        reasons=reasons,
        stages=stage_uses(store, MOST_ROWS),
    )


def find_key(store: Store, key: str) -> int:
    """The row of an image by its key; InputError naming a like one when there is none."""
    import pyarrow.compute as pc  # which takes a tenth of a second

    keys = store.index["key"]
    at = np.flatnonzero(pc.equal(keys, key).to_numpy())
    if len(at):
        return int(store.index["row"][int(at[0])].as_py())
    tail = key.rsplit("/", 1)[-1]
    like = keys.filter(pc.match_substring(keys, tail)).to_pylist()[:1] if tail else []
    hint = f"; there is {like[0]!r}" if like else "; keys are paths within the source"
    raise InputError(f"{store.path} has no image {key!r}{hint}")


def _bytes(store: Store) -> int:
    files = store.fs.find(store.root, detail=True)
    return sum(
        int(info["size"]) for name, info in files.items() if not name.endswith(".safetensors")
    )
