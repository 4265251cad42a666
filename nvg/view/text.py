"""What a store holds, as plain lines of text.

Legend: R row of the store, X view, T token, S stage, B image of a batch, N position, C channel.
"""

from typing import Any

import numpy as np
import torch

from nvg.errors import InputError
from nvg.geometry import labels
from nvg.progress import progress
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.store.format import OK, TOKENIZER_FILE
from nvg.structure import measure_structure, share_explained
from nvg.structure.quality import RegionReader
from nvg.view.summary import StoreSummary, summarize
from nvg.view.token_stats import use_lines

MOST_MEASURED = 2_000  # rows whose structure is measured
MEASURED_BATCH = 100


def store_lines(store: Store) -> list[str]:
    """A summary: identity, counts, bytes per image, errors by reason, tokens per stage."""
    return survey_lines(summarize(store))


def survey_lines(found: StoreSummary) -> list[str]:
    """The same of a survey."""
    state = (
        "finished"
        if found.finished
        else (f"UNFINISHED, {found.committed} of {found.chunks} chunks")
    )
    lines = [
        f"store       {found.path} ({state})",
        f"images      {found.rows} in {found.chunks} chunks of {found.chunk_rows}, "
        f"{found.classes} classes, views: {', '.join(found.views)}",
        f"geometry    grid {found.grid}x{found.grid}, stages 0..{found.last_stage}, "
        f"{found.tokens} tokens, codebook {found.codebook_size} x {found.latent_dim}",
        f"tokenizer   {found.tokenizer[:16]}",
        *_feature_lines(found),
        f"size        {found.bytes / 1e6:.2f} MB, {found.bytes_per_image:.0f} bytes per image",
        f"errors      {found.errors}",
    ]
    lines += [f"            {count} x {reason}" for reason, count in found.reasons.items()]
    return lines + use_lines(found.stages)


def _feature_lines(found: StoreSummary) -> list[str]:
    """Which features are kept, if any."""
    facts = found.features
    if not facts:
        return []
    return [
        f"features    {facts['model']}, {facts['dims']} of {facts['width']} components in a byte "
        f"each: {facts['dims'] * found.grid**2} bytes a view, "
        f"{facts['kept']:.1%} of the variance"
    ]


def row_entry(store: Store, row: int) -> dict[str, Any]:
    """The index entry of an image; InputError for a row that is not there."""
    if not 0 <= row < len(store):
        raise InputError(f"row {row} is out of range: {store.path} has rows 0..{len(store) - 1}")
    entries: list[dict[str, Any]] = store.index.filter(
        np.asarray(store.index["row"]) == row
    ).to_pylist()
    if not entries:
        raise InputError(f"row {row} is not committed yet in {store.path}")
    return entries[0]


def row_lines(store: Store, row: int) -> list[str]:
    """One image: its index entry, then structure map and tokens of each stage."""
    facts = row_entry(store, row)
    lines = [
        f"row {row}: {facts['key']}, class {facts['class']} ({facts['label']}), "
        f"{facts['width']}x{facts['height']}, {facts['status']} {facts['reason']}".rstrip()
    ]
    if facts["status"] != OK:
        return lines
    leaves, content = store.leaves[row, 0], store.content[row, 0]
    for stage in range(store.geometry.stages):
        tokens = content[store.geometry.stage_slice(stage)]
        shown = " ".join(str(token) for token in tokens[:16])
        more = " ..." if len(tokens) > 16 else ""
        lines.append(
            f"stage {stage}: {len(tokens)} clusters, residual {facts['stage_error'][stage]:.4f}, "
            f"tokens {shown}{more}"
        )
        if stage and store.geometry.clusters(stage) <= 64:
            lines += _map_lines(labels(leaves, stage, store.geometry.K), store.geometry.grid)
    return lines


def structure_lines(store: Store, regions: RegionReader | None = None) -> list[str]:
    """How good the structure is, per stage, over the first rows and their first view.

    Latents are not stored: measured are the final canvases, rebuilt from the tokens. With `regions`
    also how the cluster borders agree with those of label maps. InputError without a good row.
    """
    rows = store.ok_rows()[:MOST_MEASURED]
    if not len(rows):
        raise InputError(f"{store.path} has no tokenized row to measure yet")
    entries = store.index.filter(np.isin(np.asarray(store.index["row"]), rows)).to_pylist()
    quantizer, sums = (
        load_quantizer(store.read(TOKENIZER_FILE), store.geometry),
        torch.zeros(3, store.geometry.stages).double(),
    )
    for start in progress(range(0, len(rows), MEASURED_BATCH), desc="measure", unit="batch"):
        part = rows[start : start + MEASURED_BATCH]
        leaves = torch.from_numpy(store.leaves.oindex[part, 0])
        canvas_BNC = quantizer.canvas(torch.from_numpy(store.content.oindex[part, 0]), leaves)
        maps = None
        if regions:
            batch = entries[start : start + MEASURED_BATCH]
            read = [regions(entry["key"], entry["width"], entry["height"]) for entry in batch]
            maps = torch.from_numpy(np.stack(read))
        quality = measure_structure(canvas_BNC, leaves, maps)
        parts = [quality.variance, quality.border_recall, quality.border_precision]
        sums += len(part) * torch.stack([quality.variance if p is None else p for p in parts])
    return _quality_table(sums / len(rows), len(rows), with_borders=regions is not None)


def _quality_table(mean_3S: torch.Tensor, count: int, with_borders: bool) -> list[str]:
    explained_S = share_explained(mean_3S[0]).tolist()
    variance_S, recall_S, precision_S = mean_3S.tolist()
    head = "stage  clusters  variance within  explained"
    lines = [
        f"structure of {count} images, measured on their final canvases",
        head + "  region borders met  cluster borders on regions" * with_borders,
    ]
    for stage, variance in enumerate(variance_S):
        line = f"{stage:5d}  {1 << stage:8d}  {variance:15.5f}  {explained_S[stage]:9.1%}"
        if with_borders:
            line += f"  {recall_S[stage]:18.1%}  {precision_S[stage]:26.1%}"
        lines.append(line)
    return lines


def _map_lines(label_N: np.ndarray[Any, Any], grid: int) -> list[str]:
    width = len(str(label_N.max()))
    return [
        "    " + " ".join(f"{label:>{width}}" for label in line)
        for line in label_N.reshape(grid, grid)
    ]
