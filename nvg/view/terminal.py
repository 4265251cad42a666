"""A store on a terminal: colors, bars, structure maps as blocks.

Legend: N position.
"""

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nvg.errors import printable
from nvg.format.base import OK
from nvg.geometry import labels
from nvg.store import Store
from nvg.view.palette import structure_tile
from nvg.view.summary import StoreSummary, split_note

BAR = 10  # characters
WIDE = 110  # columns of a terminal that has room for bars
BLOCKS = " ▏▎▍▌▋▊▉█"
MAPS_ABREAST = 4
COMPACT_GRID = 16  # from this grid on, a position is half a character
MOST_CODES = 2  # codes that a line names
MOST_TOKENS = 12  # tokens of a stage that a line shows


def summary_view(found: StoreSummary, columns: int = WIDE) -> RenderableType:
    """One screen: metadata, errors, codebook usage per stage, with bars where there is room."""
    table = Table.grid(padding=(0, 2))
    state = "[green]finished" if found.finished else "[bold yellow]UNFINISHED"
    table.add_row("store", Text(printable(found.path), style="bold"), state)
    images = f"{found.rows:,}{split_note(found.rows, found.val_rows)}"
    table.add_row("images", images, f"{found.committed} of {found.chunks} chunks")
    for part in found.parts:
        table.add_row("rows of", Text(printable(part)), "")
    table.add_row("views", Text(printable(", ".join(found.views))), f"{found.classes} classes")
    table.add_row(
        "geometry",
        f"{found.grid}x{found.grid}, stages 0..{found.last_stage}",
        f"{found.tokens} tokens, codebook {found.codebook_size} x {found.latent_dim}",
    )
    weight = "" if found.space_weight is None else f", space_weight {found.space_weight:g}"
    table.add_row(
        "structure",
        Text(printable(found.builder) + weight),
        Text(printable(f"tokenizer {found.tokenizer[:16]}")),
    )
    size = f"{found.bytes / 1e6:,.2f} MB"
    table.add_row("size", size, f"{found.bytes_per_image:,.0f} bytes an image")
    if found.features:
        table.add_row("features", Text(printable(found.features.model)), "kept for REPA")
    color = "red" if found.errors else "green"
    table.add_row("errors", f"[{color}]{found.errors:,}", "")
    for reason, count in found.reasons.items():
        table.add_row("", f"[red]{count:,} x", Text(printable(reason)))
    return Group(table, Text(""), _stages(found, columns >= WIDE))


def _stages(found: StoreSummary, has_bars: bool) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    blank = [""] * has_bars
    for name in (
        *("stage", "clusters", "codes", "of max", *blank, "entropy", *blank),
        *("residual", "most used"),
    ):
        table.add_column(
            name, justify="left" if name in ("", "most used") else "right", no_wrap=True
        )
    worst = max((use.error for use in found.stages), default=1.0)
    most = np.log2(found.codebook_size)
    for use in found.stages:
        top = ", ".join(f"{code} ({fraction:.0%})" for code, fraction in use.top[:MOST_CODES])
        reach, entropy, error = (
            [Text(bar(fraction), style=color)] if has_bars else []
            for fraction, color in (
                (use.reach, "green"),
                (use.entropy / most, "cyan"),
                (use.error / max(worst, 1e-12), "yellow"),
            )
        )
        residual = Text(" ").join([*error, Text(f"{use.error:.4f}", style="yellow")])
        numbers = [str(use.stage), str(use.clusters), str(use.codes), f"{use.reach:.0%}"]
        bits = f"{use.entropy:.2f} bits"
        table.add_row(*numbers, *reach, bits, *entropy, residual, top)
    return table


def bar(fraction: float) -> str:
    """A bar of BAR characters, in eighths, for a fraction clipped to 0..1."""
    eighths = round(min(max(fraction, 0.0), 1.0) * BAR * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (BLOCKS[rest] if rest else "")).ljust(BAR)


def row_view(store: Store, entry: dict[str, Any]) -> RenderableType:
    """One image: its index entry, structure maps as colored blocks, tokens by stage."""
    title = Text(f"row {entry['row']}: ", style="bold").append(printable(entry["key"]))
    title.append(f"  class {printable(entry['class'])} ({entry['label']})")
    title.append(f", {entry['width']}x{entry['height']}")
    title.append(f", {entry['split']}")
    if entry["status"] != OK:
        return Group(title, Text(printable(f"{entry['status']}: {entry['reason']}"), style="red"))
    leaves, content = (tokens[0, 0] for tokens in store.row_tokens([entry["row"]]))
    geometry = store.geometry
    maps = Table.grid(padding=(0, 3))
    shown: list[RenderableType] = []
    for stage in range(1, geometry.stages):
        head = Text(f"stage {stage}, {geometry.clusters(stage)} clusters", style="bold")
        blocks = map_blocks(labels(leaves, stage, geometry.K), stage, geometry.grid)
        shown.append(Group(head, blocks, Text("")))
    for start in range(0, len(shown), MAPS_ABREAST):
        maps.add_row(*shown[start : start + MAPS_ABREAST])
    return Group(title, Text(""), maps, _tokens(store, entry, content))


def _tokens(store: Store, entry: dict[str, Any], content: np.ndarray[Any, Any]) -> Table:
    """Token ids by stage, each named by its cluster."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("stage", "residual", "tokens: cluster j has the children 2j, 2j + 1"):
        table.add_column(name, justify="left" if name.startswith("tokens") else "right")
    for stage in range(store.geometry.stages):
        tokens = content[store.geometry.stage_slice(stage)].tolist()
        text = " ".join(f"{j}:{token}" for j, token in enumerate(tokens[:MOST_TOKENS]))
        more = f" .. {len(tokens) - 1}" if len(tokens) > MOST_TOKENS else ""
        table.add_row(str(stage), f"{entry['stage_error'][stage]:.4f}", Text(text + more))
    return table


def map_blocks(label_N: np.ndarray[Any, Any], stage: int, grid: int) -> Text:
    """A structure map in square blocks: two characters per position, half of one in large maps."""
    colors = structure_tile(np.asarray(label_N), stage, grid)
    text = Text()
    if grid < COMPACT_GRID:
        for line in colors:
            for color in line:
                text.append("  ", style=f"on {_rgb(color)}")
            text.append("\n")
        return text
    for upper, lower in zip(colors[::2], colors[1::2], strict=True):
        for one, other in zip(upper, lower, strict=True):
            text.append("▀", style=f"{_rgb(one)} on {_rgb(other)}")
        text.append("\n")
    return text


def _rgb(color: np.ndarray[Any, Any]) -> str:
    return f"rgb({color[0]},{color[1]},{color[2]})"
