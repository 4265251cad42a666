"""Weights and training state on disk: identity, round trips, and errors that name the file."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nvg.training.checkpoint import Checkpoints, load_optimizer, optimizer_bytes


def test_checkpoints_come_back_whole(tmp_path: Path) -> None:
    """Files and state of a step are read as they were saved."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, {"model.bin": b"\x00weights"}, {"window": {"count": 2, "loss": 0.1}})
    assert checkpoints.steps() == [7]
    assert (checkpoints.path(7) / "model.bin").read_bytes() == b"\x00weights"
    assert checkpoints.state(7)["window"] == {"count": 2, "loss": 0.1}


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_checkpoints_stay(tmp_path: Path, keep: int) -> None:
    """After each save at most `keep` remain, in the order of steps rather than of names."""
    checkpoints = Checkpoints(tmp_path)
    for step in (2, 10, 100, 99_999_999, 100_000_000):
        checkpoints.save(step, {}, {}, keep)
    assert checkpoints.steps() == [2, 10, 100, 99_999_999, 100_000_000][-keep:]


def test_a_step_may_be_saved_again(tmp_path: Path) -> None:
    """The later save of one step replaces the earlier, with no file of it left."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"old.bin": b"1"}, {"n": 1})
    checkpoints.save(5, {"new.bin": b"2"}, {"n": 2})
    assert checkpoints.state(5)["n"] == 2
    assert sorted(p.name for p in checkpoints.path(5).iterdir()) == ["new.bin", "state.json"]


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    """What a killed process was still writing is no step, and does not hinder the next save."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"model.bin": b"good"}, {})
    with pytest.raises(TypeError):
        checkpoints.save(2, {"model.bin": b"x", "broken": None}, {})  # type: ignore[dict-item]
    assert checkpoints.steps() == [1]
    checkpoints.save(3, {"model.bin": b"next"}, {})
    assert checkpoints.steps() == [1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000003"]


def test_no_directory_means_no_steps(tmp_path: Path) -> None:
    """A run that has not saved yet has an empty list of steps."""
    assert Checkpoints(tmp_path / "absent").steps() == []


def test_an_optimizer_goes_on_where_it_was() -> None:
    """Loaded state makes the same next step as the optimizer that was never interrupted."""
    weights = [steps_of(None), steps_of(3)]
    assert torch.equal(*weights)


def steps_of(interrupted_at: int | None) -> torch.Tensor:
    """The weight after 6 steps of AdamW, through saved bytes at one of them."""
    import tempfile

    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(6):
        if step == interrupted_at:
            with tempfile.TemporaryDirectory() as directory:
                file = Path(directory, "optimizer.safetensors")
                file.write_bytes(optimizer_bytes(optimizer))
                optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
                load_optimizer(optimizer, file)
        optimizer.zero_grad()
        model(torch.full((2, 4), step + 1.0)).square().sum().backward()
        optimizer.step()
    return model.weight.detach()


@pytest.mark.parametrize("part", ["weights", "state.json"])
def test_a_full_disk_costs_the_new_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """One line with the step and the remedy; what was saved before is there, and nothing half."""
    import errno

    import nvg.training.checkpoint
    from nvg.errors import WorkError
    from nvg.files import write_atomic

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"weights": b"1"}, {"n": 1})
    real = write_atomic

    def full(path: Path, data: bytes) -> None:
        if path.name == part:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(nvg.training.checkpoint, "write_atomic", full)
    with pytest.raises(WorkError, match=r"step 2 .*No space left on device; make room.*--resume"):
        checkpoints.save(2, {"weights": b"2"}, {"n": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoints.state(1)["n"] == 1


def test_a_copy_beside_the_checkpoints_is_none(tmp_path: Path) -> None:
    """A folder that a user renamed neither counts nor is deleted."""
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "step-00000006.bak").mkdir()
    for step in (5, 7):
        checkpoints.save(step, {}, {}, keep=1)
    assert checkpoints.steps() == [7]
    assert (tmp_path / "step-00000006.bak").is_dir()
