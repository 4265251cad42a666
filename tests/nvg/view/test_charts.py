"""Charts: what the sweep's one shows, and the word where matplotlib is missing."""

import sys
from typing import Any

import pytest

from nvg.errors import InputError
from nvg.view import charts
from nvg.view.charts import SweepPoint, new_figure, sweep_chart


def test_every_point_is_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Precision to the right, distance up, labels beside them, marks in the legend."""
    kept: list[Any] = []

    def spied(width: float, height: float) -> Any:
        kept.append(new_figure(width, height))
        return kept[0]

    monkeypatch.setattr(charts, "new_figure", spied)
    points = [
        SweepPoint(label="top_p=0.5", distance=9.0, precision=0.8, mark="best"),
        SweepPoint(label="top_p=0.9", distance=12.0, precision=0.6),
    ]
    assert sweep_chart(points, "Frechet distance (x)").startswith(b"\x89PNG")
    (axes,) = kept[0].axes
    assert [tuple(each.get_offsets()[0]) for each in axes.collections] == [(0.8, 9.0), (0.6, 12.0)]
    assert [text.get_text() for text in axes.texts] == ["top_p=0.5", "top_p=0.9"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["best"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("precision", "Frechet distance (x)")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[plots\]"'):
        new_figure(1, 1)
