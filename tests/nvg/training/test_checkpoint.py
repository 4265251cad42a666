"""Weights and training state on disk: identity, round trips, and errors that name the file."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nvg.errors import InputError
from nvg.generator.config import GeneratorShape
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.training.checkpoint import Checkpoints, load_optimizer, optimizer_bytes
from nvg.weights import (
    CheckpointError,
    fingerprint,
    load_weights,
    read_config,
    read_header,
    weights_bytes,
)
from tests.makers import tiny_recipe
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model


def saved(path: Path, model: Autoencoder, **facts: str) -> Path:
    """The weights file of a model."""
    file = path / "weights.safetensors"
    file.write_bytes(weights_bytes(model.state_dict(), model.config, **facts))
    return file


def test_the_same_weights_have_the_same_fingerprint() -> None:
    """Two models with equal weights are one tokenizer: 64 hexadecimal digits."""
    first, second = tiny_autoencoder(1), tiny_autoencoder(1)
    assert fingerprint(first) == fingerprint(second)
    assert len(bytes.fromhex(fingerprint(first))) == 32


@pytest.mark.parametrize("name", ["quantizer.codebook", "encoder.to_latent.bias"])
def test_any_changed_weight_changes_the_fingerprint(name: str) -> None:
    """One weight moved by one unit in the last place makes another tokenizer."""
    model = tiny_autoencoder(1)
    before = fingerprint(model)
    with torch.no_grad():
        weight = model.get_parameter(name).view(-1)
        weight[0] = torch.nextafter(weight[0], torch.tensor(torch.inf))
    assert fingerprint(model) != before


def test_a_reshaped_weight_changes_the_fingerprint() -> None:
    """The shape belongs to the identity, not the bytes alone."""
    with torch.no_grad():
        first, second = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
        second.weight.copy_(first.weight.view(2, 3))
    assert fingerprint(first) != fingerprint(second)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_weights_and_config_come_back(tmp_path: Path, as_bytes: bool) -> None:
    """A model built from the stored config and filled with the stored weights is the same model."""
    model = tiny_autoencoder(3)
    file = saved(tmp_path, model)
    source = file.read_bytes() if as_bytes else file
    config = read_config(AutoencoderConfig, source)
    assert config == tiny_model()
    again = Autoencoder(config)
    load_weights(again, source)
    assert fingerprint(again) == fingerprint(model)


def test_facts_stand_in_the_header(tmp_path: Path) -> None:
    """Further facts are read back without the weights."""
    facts = read_header(saved(tmp_path, tiny_autoencoder(), tokenizer="abc"))
    assert facts["tokenizer"] == "abc"


def test_the_same_weights_are_the_same_bytes() -> None:
    """Stores are compared byte for byte: saving twice gives one and the same blob."""
    model = tiny_autoencoder()
    blobs = {
        weights_bytes(model.state_dict(), model.config, tokenizer="abc", made="now")
        for _ in range(20)
    }
    assert len(blobs) == 1


@pytest.mark.parametrize(
    "data", [b"", b"\x05", b"just some text, long enough", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]"]
)
def test_what_is_no_safetensors_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    """Any other file gives a CheckpointError that names it."""
    file = tmp_path / "odd.safetensors"
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"odd\.safetensors"):
        read_header(file)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    """A CheckpointError, which is an InputError, names the path."""
    with pytest.raises(InputError, match=r"absent\.safetensors"):
        read_header(tmp_path / "absent.safetensors")


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    """Weights cut short do not load, and the error names the file."""
    file = saved(tmp_path, tiny_autoencoder())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_weights(tiny_autoencoder(), file)


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    """A model of another size does not take them; the error is one line."""
    file = saved(tmp_path, tiny_autoencoder())
    other = tiny_autoencoder(0, tiny_model(codebook_size=32))
    with pytest.raises(CheckpointError, match=r"weights\.safetensors") as caught:
        load_weights(other, file)
    assert len(str(caught.value).splitlines()) == 1


def test_weights_without_a_config_are_refused_by_name(tmp_path: Path) -> None:
    """A safetensors file of other making says nothing about the model."""
    from safetensors.torch import save

    file = tmp_path / "foreign.safetensors"
    file.write_bytes(save({"x": torch.zeros(1)}, metadata={"made by": "another"}))
    with pytest.raises(CheckpointError, match=r"foreign\.safetensors"):
        read_config(AutoencoderConfig, file)


def test_a_config_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    """Naming an autoencoder's weights where a generator's belong gives an error with the path."""
    file = saved(tmp_path, tiny_autoencoder())
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        read_config(GeneratorShape, file)


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
    """Loaded state makes the same next step as the optimiser that was never interrupted."""
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


def test_a_config_is_stored_as_its_whole_self(tmp_path: Path) -> None:
    """Nested sections go through the header as they go through TOML."""
    from nvg.training.generator.config import GeneratorConfig

    config = tiny_recipe().generator
    file = tmp_path / "w.safetensors"
    file.write_bytes(weights_bytes({"x": torch.zeros(1)}, config))
    assert read_config(GeneratorConfig, file) == config


@pytest.mark.parametrize("part", ["weights", "state.json"])
def test_a_full_disk_costs_the_new_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """One line with the step and the remedy; what was saved before is there, and nothing half."""
    import errno

    import nvg.training.checkpoint
    from nvg.errors import WorkError

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"weights": b"1"}, {"n": 1})
    real = nvg.training.checkpoint.write_atomic

    def full(path: Path, data: bytes) -> None:
        if path.name == part:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(nvg.training.checkpoint, "write_atomic", full)
    with pytest.raises(WorkError, match=r"step 2 .*No space left on device; make room.*--resume"):
        checkpoints.save(2, {"weights": b"2"}, {"n": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoints.state(1)["n"] == 1
