"""Tensors whose rows lie in several files: any rows come back, whole files read the same way."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import save_file

from nvg.weights import INDEX, header_of, is_stored, opened


def write_shards(folder: Path, rows: list[int], name: str = "a.safetensors") -> dict[str, object]:
    """A table with so many rows in each shard, a number, and a header; what was written."""
    table = torch.arange(sum(rows) * 3, dtype=torch.float32).view(-1, 3)
    number = torch.tensor(7.0)
    tensors: dict[str, dict[str, object]] = {
        "table": {"shape": list(table.shape), "dtype": "F32", "rows": {}},
        "number": {"shape": [], "dtype": "F32", "rows": {"shard-0": [0, 1]}},
    }
    first = 0
    for part, count in enumerate(rows):
        held = {"table": table[first : first + count]} if count else {}
        save_file({**held, **({"number": number} if part == 0 else {})}, folder / f"shard-{part}")
        if count:
            tensors["table"]["rows"][f"shard-{part}"] = [first, first + count]  # type: ignore[index]
        first += count
    index = {name: {"header": {"made": "here"}, "tensors": tensors}}
    (folder / INDEX).write_text(json.dumps(index))
    return {"table": table, "number": number}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any), st.data())
def test_any_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int], data: st.DataObject
) -> None:
    """However the rows are shared out, empty shards among them; none, some and all of them."""
    folder = tmp_path_factory.mktemp("shards")
    written = write_shards(folder, rows)
    first = data.draw(st.integers(0, sum(rows)))
    end = data.draw(st.integers(first, sum(rows)))
    with opened(folder / "a.safetensors") as stored:
        assert torch.equal(stored.read("table", (first, end)), written["table"][first:end])  # type: ignore[index]
        found = stored.read_like({})
    assert found.keys() == written.keys()
    for name, value in written.items():
        assert torch.equal(found[name], value)  # type: ignore[arg-type]


def test_a_whole_file_is_read_the_same_way(tmp_path: Path) -> None:
    """Rows, a number, names and shapes; it has precedence over an index."""
    write_shards(tmp_path, [1, 1])
    table = torch.rand(5, 2).bfloat16()
    path = tmp_path / "a.safetensors"
    save_file({"table": table, "number": torch.tensor(3)}, path)
    with opened(path) as stored:
        assert stored.shapes == {"table": (5, 2), "number": ()}
        assert torch.equal(stored.read("table", (1, 4)), table[1:4])
        assert stored.read("table", (2, 2)).shape == (0, 2)
        assert stored.read("number") == 3
    assert header_of(path) is None


def test_what_is_read_outlives_the_file(tmp_path: Path) -> None:
    """Numbers are copies, not views of a file that a later checkpoint deletes."""
    path = tmp_path / "a.safetensors"
    save_file({"table": torch.ones(1000, 8), "number": torch.tensor(2.0)}, path)
    with opened(path) as stored:
        found = stored.read_like({})
    with path.open("r+b") as file:
        file.truncate(8)
    assert found["table"].sum() == 8000
    assert found["number"] == 2


def test_names_of_the_index_are_stored(tmp_path: Path) -> None:
    """Without a file of that name; others are not."""
    assert not is_stored(tmp_path / "a.safetensors")
    write_shards(tmp_path, [2, 1])
    assert is_stored(tmp_path / "a.safetensors")
    assert not is_stored(tmp_path / "b.safetensors")
    assert header_of(tmp_path / "a.safetensors") == {"made": "here"}


@pytest.mark.parametrize("fault", ["missing shard", "short shard", "no rows", "absent"])
def test_damage_is_an_error(tmp_path: Path, fault: str) -> None:
    """A shard that is not there or too short, rows that no shard has, a name that is unknown."""
    write_shards(tmp_path, [2, 1])
    shard, index = tmp_path / "shard-1", tmp_path / INDEX
    path = tmp_path / ("b.safetensors" if fault == "absent" else "a.safetensors")
    if fault == "missing shard":
        shard.unlink()
    elif fault == "short shard":
        shard.write_bytes(shard.read_bytes()[:-4])
    elif fault == "no rows":
        text = json.loads(index.read_text())
        del text["a.safetensors"]["tensors"]["table"]["rows"]["shard-1"]
        index.write_text(json.dumps(text))
    with pytest.raises((OSError, SafetensorError, ValueError)), opened(path) as stored:
        stored.read_like({})
