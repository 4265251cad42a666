"""Curves of a generator training from its metrics.jsonl: does it still learn?"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nvg.errors import InputError
from nvg.files import parse_json, write_atomic
from nvg.view.charts import figure_bytes, new_figure

log = logging.getLogger("nvg")

TERMS = {"content": ("entropy", "canvas"), "structure": ("flow",)}
"""What the loss of each generator consists of."""

Lines = list[dict[str, Any]]


def draw_curves(metrics: Path) -> None:
    """Write `curves*.png` beside `metrics*.jsonl`, where matplotlib is there to draw it."""
    try:
        lines = list(_whole_lines(metrics.read_text(errors="replace")))
        picture = curves_png(lines)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        log.debug("no curves are drawn of other lines than ours: %s", error)
        return
    if picture is not None:
        name = metrics.stem.replace("metrics", "curves")
        write_atomic(metrics.with_name(f"{name}.png"), picture)


def _whole_lines(text: str) -> Iterator[dict[str, Any]]:
    """Those of the lines that a crash did not damage."""
    for line in text.splitlines():
        try:
            found = parse_json(line, finite=False)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def curves_png(lines: Lines) -> bytes | None:
    """A PNG of losses in training and of training and held-out images; by stage; bits an image.

    None without held-out losses, or without matplotlib.
    """
    measured = [line for line in lines if "heldout" in line]
    if not measured:
        return None
    try:
        figure = new_figure(11, 3.2, None)  # a layout engine would double the time
    except InputError as error:
        log.debug("no curves are drawn: %s", error)
        return None
    parts = [part for part in TERMS if part in measured[-1]["heldout"]["val"]]
    figure.set_figheight(3.2 * len(parts))
    figure.subplots_adjust(0.05, 0.16 / len(parts), 0.99, 1 - 0.1 / len(parts), 0.16, 0.35)
    panels = figure.subplots(len(parts), 3, squeeze=False)
    for (losses, stages, bits), part in zip(panels, parts, strict=True):
        _draw_losses(losses, lines, measured, part)
        _draw_stages(stages, measured, TERMS[part][0])
        _draw_bits(bits, measured, {"content": "token_bits", "structure": "structure_bits"}[part])
    for axes in panels.flat:
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return figure_bytes(figure)


def _draw_losses(axes: Any, lines: Lines, measured: Lines, part: str) -> None:
    """The loss of the steps, and that of both sets by the EMA weights."""
    logged = [line for line in lines if TERMS[part][0] in line]
    axes.plot(
        [line["step"] for line in logged],
        [sum(line.get(term, 0.0) for term in TERMS[part]) for line in logged],
        color="0.8",
        label="steps",
    )
    for split, style, name in (("train", "C0.-", "training images"), ("val", "C1.-", "held out")):
        values = [line["heldout"][split][part] for line in measured]
        axes.plot([line["step"] for line in measured], values, style, label=name)
    axes.set_title(f"{part}: loss")


def _draw_stages(axes: Any, measured: Lines, term: str) -> None:
    """The first term by stage: held out, and dotted of training images."""
    steps, count = [line["step"] for line in measured], len(measured[-1]["heldout"]["val"][term])
    first = 1 if term == "flow" else 0
    for stage in range(count):
        color = f"C{stage % 10}"
        for split, style in (("val", "-"), ("train", ":")):
            values = [line["heldout"][split][term][stage] for line in measured]
            label = f"stage {stage + first}" if split == "val" else None
            axes.plot(steps, values, style, color=color, label=label)
    axes.set_title(f"{term} by stage (dotted: training images)")


def _draw_bits(axes: Any, measured: Lines, term: str) -> None:
    """Bits an image of both sets."""
    for split, style, name in (("train", "C0.-", "training images"), ("val", "C1.-", "held out")):
        values = [line["heldout"][split][term] for line in measured]
        axes.plot([line["step"] for line in measured], values, style, label=name)
    axes.set_title(term.replace("_", " ") + " an image")
