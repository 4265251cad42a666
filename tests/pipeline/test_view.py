"""Figures and pages over a store, and their rows."""

from pathlib import Path

import pytest

from nvg.errors import InputError
from nvg.store import Store
from pipeline.view import serve_store, structure_report, write_charts, write_page, write_sheet
from tests.nvg.store.makers import make_store


def test_files_are_written_at_once(store: Store, tmp_path: Path) -> None:
    """A page of given rows, a sheet of the first row with tokens; no folder as output."""
    write_page(store, "0-2", tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes().startswith(b"<!")
    write_sheet(store, None, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError):
        write_page(store, [0], tmp_path)


def test_a_suffix_names_the_format(store: Store, tmp_path: Path) -> None:
    """Of a sheet and of charts; another is refused before any work."""
    write_sheet(store, [0], tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    for write, name in ((write_sheet, "a.svg"), (write_charts, "a.jpg"), (write_page, "a.md")):
        with pytest.raises(InputError, match="names no format that is written"):
            write(store, [0], tmp_path / name)
        assert not (tmp_path / name).exists()


def test_another_grid_cannot_be_shown_beside(store: Store, tmp_path: Path) -> None:
    """It is refused before the server starts."""
    other = make_store(tmp_path / "b.vgs", 4, grid=8)
    with pytest.raises(InputError, match="has another grid"):
        serve_store(store.path, other.path, 0)


def test_structure_is_measured_stage_by_stage(store: Store) -> None:
    """One line per stage."""
    lines = structure_report(store, None)
    assert sum(line.split()[:1] == [str(stage)] for line in lines for stage in range(5)) >= 5
