"""Figures and pages over a store: their rows, and the source of originals."""

from pathlib import Path

import numpy as np
import pytest

from nvg.errors import InputError
from nvg.store import Store
from pipeline.view import originals, serve_store, structure_report, write_page, write_sheet
from tests.nvg.store.makers import make_store
from tests.pipeline.images.makers import center_crop, decoded
from tests.pipeline.tokenize.makers import BAD, photos, run


def test_originals_are_the_crops_that_were_tokenized(tokenizer: Path, tmp_path: Path) -> None:
    """They are read from the source in the manifest; bad and missing files are left out."""
    recipe = photos(tmp_path / "images")
    run(recipe, tokenizer, tmp_path / "a.vgs")
    store = Store(str(tmp_path / "a.vgs"))
    keys = store.index["key"].to_pylist()
    gone, bad, good = (
        next(row for row, key in enumerate(keys) if (key in BAD) == is_bad and row >= least)
        for is_bad, least in ((False, 0), (True, 0), (False, 8))
    )
    (tmp_path / "images" / keys[gone]).unlink()
    found = originals(store, [gone, bad, good])
    assert list(found) == [good]
    wanted = center_crop(decoded(tmp_path / "images" / keys[good]), 8)
    assert np.array_equal(found[good], wanted.transpose(1, 2, 0))


def test_a_source_that_is_gone_is_no_error(store: Store) -> None:
    """Without the source, pages and sheets have no originals."""
    assert originals(store, [0]) == {}


def test_files_are_written_at_once(store: Store, tmp_path: Path) -> None:
    """A page of given rows, a sheet of the first row with tokens; no folder as output."""
    write_page(store, None, "0-2", tmp_path / "a.html")
    assert (tmp_path / "a.html").read_bytes().startswith(b"<!")
    write_sheet(store, None, None, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError):
        write_page(store, [0], None, tmp_path)


def test_another_grid_cannot_be_shown_beside(store: Store, tmp_path: Path) -> None:
    """It is refused before the server starts."""
    other = make_store(tmp_path / "b.vgs", 4, grid=8)
    with pytest.raises(InputError, match="has another grid"):
        serve_store(store.path, other.path, 0)


def test_structure_is_measured_stage_by_stage(store: Store) -> None:
    """One line per stage."""
    lines = structure_report(store, None)
    assert sum(line.split()[:1] == [str(stage)] for line in lines for stage in range(5)) >= 5
