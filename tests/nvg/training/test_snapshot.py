"""Copies of tensors that later steps leave alone, and the files they become."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save

from nvg.distributed import World
from nvg.training.snapshot import snapshot
from nvg.weights import HEADER, read_header

MAIN, OTHER = (World(rank, 2, torch.device("cpu")) for rank in range(2))


def test_later_steps_do_not_change_it(tmp_path: Path) -> None:
    """A tensor that is written to after the copy is saved as it was; parts of others too."""
    whole = torch.arange(12.0).view(3, 4)
    taken = snapshot({"whole": whole, "part": whole.T}, MAIN, False)
    whole.zero_()
    taken.write(tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert torch.equal(found["whole"], torch.arange(12.0).view(3, 4))
    assert torch.equal(found["part"], torch.arange(12.0).view(3, 4).T)


def test_the_bytes_are_those_of_one_blob(tmp_path: Path) -> None:
    """As `weights_bytes` makes them, header included."""
    state = {"b": torch.rand(3), "a": torch.ones(2, 2).bfloat16(), "n": torch.tensor(4)}
    header = {"config": {"size": 2}, "tokenizer": "abc"}
    file = tmp_path / "a.safetensors"
    snapshot(state, MAIN, False, header).write(file)
    text = '{"config": {"size": 2}, "tokenizer": "abc"}'
    assert file.read_bytes() == save(state, metadata={HEADER: text})
    assert read_header(file) == header


def test_what_all_have_is_written_by_one() -> None:
    """Of sharded training the main process takes numbers and plain tensors, with their rows."""
    state = {"step": torch.tensor(4.0), "table": torch.rand(3, 2)}
    main, other = (snapshot(state, world, True) for world in (MAIN, OTHER))
    assert main.entries["step"] == {"shape": [], "dtype": "float32", "rows": (0, 1)}
    assert main.entries["table"] == {"shape": [3, 2], "dtype": "float32", "rows": (0, 3)}
    assert other.tensors == other.entries == {}
