"""Charts as PNGs, by matplotlib, which is an extra."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nvg.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """Settings and what they reach."""

    label: str
    distance: float
    precision: float
    mark: str = ""
    """Why it stands out, for the legend."""


def new_figure(
    width: float, height: float, layout: Literal["constrained"] | None = "constrained"
) -> Any:
    """An empty figure of so many inches; InputError when matplotlib is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from matplotlib.figure import Figure
    except ImportError:
        raise InputError('charts need matplotlib: pip install -e ".[plots]"') from None
    return Figure(figsize=(width, height), layout=layout)


def figure_bytes(figure: Any, suffix: str = ".png") -> bytes:
    """A figure as PNG, PDF or SVG, by the suffix of its file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix.removeprefix("."), dpi=150)
    return buffer.getvalue()


def sweep_chart(points: Sequence[SweepPoint], distance_name: str) -> bytes:
    """A PNG of distance against precision, a labelled point for each settings."""
    figure = new_figure(8, 6)
    axes = figure.subplots()
    for point in points:
        look = {"marker": "*", "s": 160, "label": point.mark} if point.mark else {"color": "gray"}
        axes.scatter(point.precision, point.distance, zorder=2, **look)
        axes.annotate(
            point.label,
            (point.precision, point.distance),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.set(xlabel="precision", ylabel=distance_name)
    axes.margins(0.15)
    axes.grid(alpha=0.3)
    if any(point.mark for point in points):
        axes.legend(frameon=False)
    return figure_bytes(figure)
