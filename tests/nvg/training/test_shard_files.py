"""Shards of several processes in one directory: the index of all, and who is waited for."""

import threading
import time
from pathlib import Path

import pytest
import torch

from nvg.distributed import World
from nvg.errors import WorkError
from nvg.training.shard_files import Deadline, join_shards, write_shards
from nvg.training.snapshot import Snapshot
from nvg.weights import opened

TABLE = torch.arange(10.0).view(5, 2)
WORLDS = [World(rank, 2, torch.device("cpu")) for rank in range(2)]


def shard(first: int, end: int) -> dict[str, Snapshot]:
    """Rows of the table."""
    entry = {"shape": [5, 2], "dtype": "F32", "rows": (first, end)}
    rows = TABLE[first:end].clone()
    return {"a.safetensors": Snapshot({"table": rows}, {"config": 1}, {"table": entry}, True)}


def test_the_main_process_waits_for_all_and_writes_the_index(tmp_path: Path) -> None:
    """The other writes later; then the table is whole, and no note is left."""
    write_shards(tmp_path, shard(0, 3), WORLDS[0])
    late = threading.Timer(0.2, write_shards, (tmp_path, shard(3, 5), WORLDS[1]))
    late.start()
    join_shards(tmp_path, WORLDS[0], Deadline())
    with opened(tmp_path / "a.safetensors") as stored:
        assert torch.equal(stored.read("table"), TABLE)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"a.shard-{n}-of-2.safetensors" for n in range(2)), "shards.json"]
    late.join()


def test_a_process_without_rows_writes_its_note_alone(tmp_path: Path) -> None:
    """As one of another node, whose rows are copies; the main process waits for it all the same."""
    write_shards(tmp_path, shard(0, 5), WORLDS[0])
    write_shards(tmp_path, {"a.safetensors": Snapshot({}, is_sharded=True)}, WORLDS[1])
    assert (tmp_path / "written-1.json").exists()
    join_shards(tmp_path, WORLDS[0], Deadline())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.shard-0-of-2.safetensors", "shards.json"]
    with opened(tmp_path / "a.safetensors") as stored:
        assert torch.equal(stored.read("table"), TABLE)


@pytest.mark.parametrize("fault", ["gone", "short"])
def test_a_process_that_does_not_write_is_named(tmp_path: Path, fault: str) -> None:
    """No note of it, or a file that stays shorter than told: one line with the remedy."""
    write_shards(tmp_path, shard(0, 3), WORLDS[0])
    if fault == "short":
        write_shards(tmp_path, shard(3, 5), WORLDS[1])
        (tmp_path / "a.shard-1-of-2.safetensors").write_bytes(b"half")
    deadline = Deadline()
    deadline.shorten(0.1)
    with pytest.raises(WorkError, match=r"process 1 of 2 did not write.*share --out.*--resume"):
        join_shards(tmp_path, WORLDS[0], deadline)


def test_a_deadline_only_comes_nearer() -> None:
    """Half an hour at first, then the nearest that was set."""
    deadline, now = Deadline(), time.monotonic()
    assert deadline.at == pytest.approx(now + 1800, abs=5)
    deadline.shorten(10)
    deadline.shorten(100)
    assert deadline.at == pytest.approx(now + 10, abs=5)
