"""The quality of the structure in a store, stage by stage.

Legend: S stage, B image of a batch, N position, C channel.
"""

import numpy as np
import torch

from nvg.errors import InputError
from nvg.format.base import TOKENIZER_FILE
from nvg.progress import progress
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Store
from nvg.structure import explained_fraction, measure_structure
from nvg.structure.quality import RegionReader

MOST_MEASURED = 2_000  # rows
MEASURED_BATCH = 100


def structure_lines(store: Store, regions: RegionReader | None = None) -> list[str]:
    """Variance within clusters per stage, over the first rows for training, as a table.

    Of their first view. A store has no latents, so this measures on the final canvases, rebuilt
    from the tokens. With
    `regions`, also border recall and precision against label maps. InputError when no row has
    tokens.
    """
    rows = store.ok_rows()[:MOST_MEASURED]
    if not len(rows):
        raise InputError(f"{store.path} has no tokenized row to measure yet")
    entries = store.entries(rows.tolist()) if regions else []
    quantizer, sums = (
        load_quantizer(store.read(TOKENIZER_FILE), store.geometry),
        torch.zeros(3, store.geometry.stages).double(),
    )
    for start in progress(range(0, len(rows), MEASURED_BATCH), desc="measure", unit="batch"):
        part = rows[start : start + MEASURED_BATCH]
        leaves, content = (torch.from_numpy(each[:, 0]) for each in store.row_tokens(part.tolist()))
        canvas_BNC = quantizer.canvas(content, leaves)
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
    explained_S = explained_fraction(mean_3S[0]).tolist()
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
