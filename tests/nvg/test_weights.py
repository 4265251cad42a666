"""Weights in safetensors files: what comes back, what tells them apart, and what is refused."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from nvg.errors import InputError
from nvg.foreign import read_tensors as read_foreign
from nvg.generator.config import GeneratorShape
from nvg.store.feature_codec import CodecShape
from nvg.tokenizer.autoencoder import Autoencoder, load_autoencoder
from nvg.tokenizer.config import AutoencoderConfig
from nvg.tokenizer.import_var import import_var
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


def test_a_config_is_stored_as_its_whole_self(tmp_path: Path) -> None:
    """Nested sections go through the header as they go through TOML."""
    from nvg.training.generator.config import GeneratorConfig

    config = tiny_recipe().generator
    file = tmp_path / "w.safetensors"
    file.write_bytes(weights_bytes({"x": torch.zeros(1)}, config))
    assert read_config(GeneratorConfig, file) == config


def saved(path: Path, model: Autoencoder, **facts: str) -> Path:
    """The weights file of a model."""
    file = path / "weights.safetensors"
    file.write_bytes(weights_bytes(model.state_dict(), model.config, **facts))
    return file


WHOLE = weights_bytes(nn.Linear(3, 2).state_dict(), CodecShape(width=2, dims=1))
HEADED = 8 + int.from_bytes(WHOLE[:8], "little")  # bytes with the header
LIBRARIES = re.compile("deserializ|[Uu]npickl|weights_only|JSON in header|state_dict for|pop from")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page.*download the file itself"),
        (b"", "an empty file"),
        ("no weights, but wörds\n".encode() * 40, "a text file, not the weights: download the"),
        (b'{"message": "Not Found"}', "JSON text, not the weights: download the"),
        (WHOLE[:50], f"cut short, 50 bytes of at least {HEADED}: download it again"),
        (b"PK\x03\x04" + bytes(range(256)), "cut short, an archive without its end: download it"),
    ],
)
def test_what_was_never_downloaded_is_said(tmp_path: Path, data: bytes, words: str) -> None:
    """Of our files and of foreign ones, with the remedy, instead of a library's paragraph."""
    file = tmp_path / "weights.safetensors"
    file.write_bytes(data)
    for read in (
        lambda: read_header(file),
        lambda: load_weights(nn.Linear(1, 1), file),
        lambda: import_var(file),
        lambda: read_foreign(file),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            read()
        assert not LIBRARIES.search(str(caught.value))


def test_weights_without_their_end_are_refused(tmp_path: Path) -> None:
    """Their header can be read."""
    file = tmp_path / "weights.safetensors"
    file.write_bytes(WHOLE[:-1])
    assert read_config(CodecShape, file) == CodecShape(width=2, dims=1)
    words = f"is cut short, {len(WHOLE) - 1} bytes of at least {len(WHOLE)}: download it again"
    with pytest.raises(CheckpointError, match=words):
        load_weights(nn.Linear(3, 2), file)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("data", [bytes(range(128, 256)) * 9, b"\x08" + bytes(7) + b"[1,2,3] "])
def test_what_nobody_wrote_as_weights_is_said(tmp_path: Path, data: bytes, name: str) -> None:
    """Bytes of no meaning, a list where a header should be."""
    file = tmp_path / name
    file.write_bytes(data)
    for read, words in (
        (lambda: read_header(file), "weights.* is not a safetensors file"),
        (lambda: load_weights(nn.Linear(1, 1), file), "weights.* is not a sound safetensors file"),
        (lambda: import_var(file), "weights.* does not hold VAR's tokenizer: it is no file of"),
        (lambda: read_foreign(file), "weights.* cannot be imported: it is no zip archive"),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            read()
        assert not LIBRARIES.search(str(caught.value))


def test_a_misfit_names_the_tensor(tmp_path: Path) -> None:
    """Missing, of another shape, one too many."""
    network = nn.Linear(3, 2)
    plain = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    load_weights(network, plain, "mine")
    for changes, words in (
        ({"bias": None}, "mine does not fit the model: bias is missing"),
        ({"bias": torch.zeros(4)}, r"mine does not fit the model: bias is \(4,\), not \(2,\)"),
        ({"more": torch.zeros(1)}, "mine does not fit the model: it knows no more"),
    ):
        given = {n: t for n, t in {**plain, **changes}.items() if t is not None}
        with pytest.raises(CheckpointError, match=words):
            load_weights(network, given, "mine")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path: Path, value: float) -> None:
    """The file and the tensor, where an autoencoder is loaded to tokenize or to measure."""
    model = tiny_autoencoder()
    with torch.no_grad():
        model.quantizer.codebook[3, 1] = value
    file = saved(tmp_path, model)
    with pytest.raises(CheckpointError, match=r"holds NaN or Inf, in quantizer\.codebook: use"):
        load_autoencoder(file)
