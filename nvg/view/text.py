"""What a store holds, as plain lines of text.

Legend: R row of the store, X view, T token, S stage, B image of a batch, N position, C channel.
"""

from typing import Any

import numpy as np

from nvg.format.base import OK
from nvg.geometry import labels
from nvg.store import Store
from nvg.view.summary import StoreSummary, split_note, summarize
from nvg.view.token_stats import usage_lines


def store_lines(store: Store) -> list[str]:
    """The summary of a store: identity, counts, bytes per image, errors, usage per stage."""
    return summary_lines(summarize(store))


def summary_lines(found: StoreSummary) -> list[str]:
    """A summary as lines."""
    state = (
        "finished"
        if found.finished
        else (f"UNFINISHED, {found.committed} of {found.chunks} chunks")
    )
    images = f"{found.rows}{split_note(found.rows, found.val_rows)}"
    lines = [
        f"store       {found.path} ({state})",
        f"images      {images} in {found.chunks} chunks of {found.chunk_rows}, "
        f"{found.classes} classes, views: {', '.join(found.views)}",
        *[f"rows of     {part}" for part in found.parts],
        f"geometry    grid {found.grid}x{found.grid}, stages 0..{found.last_stage}, "
        f"{found.tokens} tokens, codebook {found.codebook_size} x {found.latent_dim}",
        f"tokenizer   {found.tokenizer[:16]}",
        *_feature_lines(found),
        f"size        {found.bytes / 1e6:.2f} MB, {found.bytes_per_image:.0f} bytes per image",
        f"errors      {found.errors}",
    ]
    lines += [f"            {count} x {reason}" for reason, count in found.reasons.items()]
    return lines + usage_lines(found.stages)


def _feature_lines(found: StoreSummary) -> list[str]:
    """The features that the store keeps, if any."""
    info = found.features
    if not info:
        return []
    return [
        f"features    {info.model}, {info.dims} of {info.width} components in a byte "
        f"each: {info.dims * found.grid**2} bytes a view, {info.kept:.1%} of the variance"
    ]


def row_lines(store: Store, row: int) -> list[str]:
    """One image: its index entry, then structure map and tokens per stage."""
    entry = store.entry(row)
    lines = [
        f"row {row}: {entry['key']}, class {entry['class']} ({entry['label']}), "
        f"{entry['width']}x{entry['height']}, {entry['split']}, "
        f"{entry['status']} {entry['reason']}".rstrip()
    ]
    if entry["status"] != OK:
        return lines
    leaves, content = (tokens[0, 0] for tokens in store.row_tokens([row]))
    for stage in range(store.geometry.stages):
        tokens = content[store.geometry.stage_slice(stage)]
        shown = " ".join(str(token) for token in tokens[:16])
        more = " ..." if len(tokens) > 16 else ""
        lines.append(
            f"stage {stage}: {len(tokens)} clusters, residual {entry['stage_error'][stage]:.4f}, "
            f"tokens {shown}{more}"
        )
        if stage and store.geometry.clusters(stage) <= 64:
            lines += _map_lines(labels(leaves, stage, store.geometry.K), store.geometry.grid)
    return lines


def _map_lines(label_N: np.ndarray[Any, Any], grid: int) -> list[str]:
    width = len(str(label_N.max()))
    return [
        "    " + " ".join(f"{label:>{width}}" for label in line)
        for line in label_N.reshape(grid, grid)
    ]
