"""Plain text about a store and a row, against their content."""

import re
from pathlib import Path

import numpy as np
import pytest

from nvg.errors import InputError
from nvg.store import Store, open_store
from nvg.view.text import row_lines, store_lines
from tests.nvg.store.makers import empty_store, index_table, make_store, random_arrays, write_rows


def crafted(path: Path) -> Store:
    """A store of 8 rows (2 an error) with known tokens: one code at stage 0, two at stage 1.

    Row 0 has its leaves in order, so its maps are the bits of the position.
    """
    store = empty_store(path / "crafted.vgs", 8)
    arrays = random_arrays(store, bad=(2, 5))
    good = [0, 1, 3, 4, 6, 7]
    arrays["content"][good, 0, 0] = 7
    arrays["content"][good, 0, 1:3] = (2, 9)
    arrays["leaves"][0, 0] = np.arange(16)
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index_table(store, arrays, (2, 5)))
    store.finish()
    return store


def line_of(lines: list[str], name: str) -> str:
    """The line that begins with a name."""
    (line,) = (line for line in lines if line.startswith(name))
    return line


def test_a_summary_counts(store: Store) -> None:
    """Rows, chunks, classes, views, geometry and error rows of the fixture store."""
    lines = store_lines(store)
    assert "finished" in line_of(lines, "store")
    assert "10 in 3 chunks of 4, 3 classes, views: center, flip" in line_of(lines, "images")
    assert "grid 4x4, stages 0..4, 31 tokens, codebook 16 x 4" in line_of(lines, "geometry")
    assert store.manifest.tokenizer[:16] in line_of(lines, "tokenizer")
    assert line_of(lines, "errors").split() == ["errors", "2"]


def test_a_summary_groups_errors_by_reason(store: Store) -> None:
    """Each reason once, with its count."""
    assert any(line.strip() == "2 x not an image" for line in store_lines(store))


def test_a_summary_measures_the_files(store: Store) -> None:
    """Bytes without the tokenizer's weights, divided by the images."""
    files = [path for path in Path(store.path).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files if path.suffix != ".safetensors")
    expected = f"{size / 1e6:.2f} MB, {size / 10:.0f} bytes per image"
    assert expected in line_of(store_lines(store), "size")


def stage_row(store: Store, stage: int) -> list[str]:
    """The cells of a stage's line: stage, clusters, codes used, of max, entropy, residual."""
    return line_of([line.strip() for line in store_lines(store)], f"{stage} ").split()


def test_a_stage_with_one_code_has_no_entropy(tmp_path: Path) -> None:
    """One code in six tokens of stage 0: a sixth of the maximum, 0 bits."""
    assert stage_row(crafted(tmp_path), 0) == ["0", "1", "1", "16.7%", "0.00", "1.0000"]


def test_a_stage_with_two_equal_codes_has_one_bit(tmp_path: Path) -> None:
    """Two codes in twelve tokens, equally often: 1 bit; the residual is the mean of the index."""
    assert stage_row(crafted(tmp_path), 1) == ["1", "2", "2", "16.7%", "1.00", "0.5000"]


def test_a_later_stage_is_measured_by_the_codebook(tmp_path: Path) -> None:
    """With more tokens than codes, the maximum is the codebook size; entropy as by hand."""
    store = crafted(tmp_path)
    tokens = store.content[:][[0, 1, 3, 4, 6, 7], 0, 15:31].ravel().tolist()
    shares = [tokens.count(code) / 96 for code in range(16)]
    entropy = -sum(share * np.log2(share) for share in shares if share)
    used = sum(share > 0 for share in shares)
    expected = ["4", "16", str(used), f"{used / 16:.1%}", f"{entropy:.2f}", "0.2000"]
    assert stage_row(store, 4) == expected


@pytest.mark.parametrize("done", [0, 1])
def test_an_unfinished_store_can_be_inspected(tmp_path: Path, done: int) -> None:
    """It shows the committed chunks, even before the first."""
    store = empty_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    for chunk in range(done):
        write_rows(store, chunk, arrays, index_table(store, arrays))
    lines = store_lines(open_store(store.path))
    assert f"UNFINISHED, {done} of 3 chunks" in line_of(lines, "store")


def test_a_store_of_errors_can_be_inspected(tmp_path: Path) -> None:
    """Without tokens, the table of stages is left out."""
    lines = store_lines(make_store(tmp_path / "a.vgs", 5, bad=range(5)))
    assert line_of(lines, "errors").split() == ["errors", "5"]
    assert not any("entropy" in line for line in lines)


def test_a_row_shows_its_index_entry(store: Store) -> None:
    """Key, class, size and status on the first line."""
    label = int(store.label[4])
    name = store.manifest.classes[label]
    assert row_lines(store, 4)[0] == f"row 4: image-4, class {name} ({label}), 16x16, train, ok"


def test_splits_are_shown(tmp_path: Path) -> None:
    """Both counts in the summary, and the split of a row."""
    store = make_store(tmp_path / "a.vgs", 10, val=(8, 9))
    assert "10 (8 train, 2 val) in 3 chunks" in line_of(store_lines(store), "images")
    assert row_lines(store, 7)[0].endswith("16x16, train, ok")
    assert row_lines(store, 8)[0].endswith("16x16, val, ok")


def test_an_error_row_shows_its_reason_only(store: Store) -> None:
    """An error row has only this line."""
    (line,) = row_lines(store, 3)
    assert line.endswith("error not an image")


def test_a_row_shows_every_stage(tmp_path: Path) -> None:
    """Stage, clusters, residual and the first tokens."""
    store = crafted(tmp_path)
    stages = [line for line in row_lines(store, 0) if line.startswith("stage")]
    tokens = store.content[0, 0].tolist()
    for stage, line in enumerate(stages):
        count = 2**stage
        shown = " ".join(str(token) for token in tokens[count - 1 : 2 * count - 1])
        residual = f"{1 / (stage + 1):.4f}"
        assert line == f"stage {stage}: {count} clusters, residual {residual}, tokens {shown}"
    assert len(stages) == 5


def test_a_row_shows_its_structure_maps(tmp_path: Path) -> None:
    """With leaves in raster order, stage 1 splits top from bottom, stage 2 line by line."""
    lines = row_lines(crafted(tmp_path), 0)
    first, second = (lines.index(line_of(lines, f"stage {stage}:")) for stage in (1, 2))
    assert [line.split() for line in lines[first + 1 : first + 5]] == [["0"] * 4] * 2 + [
        ["1"] * 4
    ] * 2
    assert [line.split() for line in lines[second + 1 : second + 5]] == [
        [str(n)] * 4 for n in range(4)
    ]


def test_many_tokens_are_cut(tmp_path: Path) -> None:
    """A stage with 64 tokens shows the first 16 and dots."""
    store = make_store(tmp_path / "a.vgs", 1, grid=8)
    line = line_of(row_lines(store, 0), "stage 6:")
    tokens = store.content[0, 0, 63:].tolist()
    assert line.endswith(" ".join(str(token) for token in tokens[:16]) + " ...")


@pytest.mark.parametrize("row", [-1, 10, 1000])
def test_a_row_that_is_not_there_is_refused(store: Store, row: int) -> None:
    """The error names the valid rows."""
    with pytest.raises(InputError, match=rf"row {row} .*0\.\.9"):
        row_lines(store, row)


def test_a_row_not_yet_written_is_refused(tmp_path: Path) -> None:
    """An unfinished store shows only committed rows."""
    store = empty_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    write_rows(store, 1, arrays, index_table(store, arrays))
    assert re.match("row 5: image-5", row_lines(open_store(store.path), 5)[0])
    with pytest.raises(InputError, match="row 1 is not committed"):
        row_lines(open_store(store.path), 1)
