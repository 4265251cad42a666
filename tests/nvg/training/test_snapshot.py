"""Copies of tensors that later steps leave alone, and the files they become."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from nvg.distributed import World
from nvg.training.snapshot import DTYPES, snapshot
from nvg.weights import HEADER, opened, read_header

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
    state = {"b": torch.rand(3), "a": torch.ones(2, 3).bfloat16(), "n": torch.tensor(4)}
    header = {"config": {"size": 2}, "tokenizer": "abc"}
    file = tmp_path / "a.safetensors"
    snapshot(state, MAIN, False, header).write(file)
    text = '{"config": {"size": 2}, "tokenizer": "abc"}'
    assert file.read_bytes() == save(state, metadata={HEADER: text})
    assert read_header(file) == header


@pytest.mark.parametrize("kind", list(DTYPES))
def test_every_kind_of_number_comes_back(tmp_path: Path, kind: torch.dtype) -> None:
    """Also beside others, of which some are larger."""
    state = {"a": torch.tensor([[1, 0, 1]]).to(kind), "b": torch.rand(2), "none": torch.zeros(0)}
    snapshot(state, MAIN, False).write(tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())
    with opened(tmp_path / "a.safetensors") as stored:
        assert torch.equal(stored.read_like({})["none"], torch.zeros(0))


def test_the_file_may_be_read_by_whom_other_files_may(tmp_path: Path) -> None:
    """Its permissions are those of any new file."""
    (tmp_path / "other").touch()
    snapshot({"a": torch.rand(3)}, MAIN, False).write(tmp_path / "a.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_full_disk_is_an_os_error() -> None:
    """As of any file, with the reason."""
    with pytest.raises(OSError, match="No space left on device"):
        snapshot({"a": torch.rand(10_000)}, MAIN, False).write(Path("/dev/full"))


def test_what_all_have_is_written_by_one() -> None:
    """Of sharded training the main process takes numbers and plain tensors, with their rows."""
    state = {"step": torch.tensor(4.0), "table": torch.rand(3, 2)}
    main, other = (snapshot(state, world, True) for world in (MAIN, OTHER))
    assert main.entries["step"] == {"shape": [], "dtype": "F32", "rows": (0, 1)}
    assert main.entries["table"] == {"shape": [3, 2], "dtype": "F32", "rows": (0, 3)}
    assert other.tensors == other.entries == {}
