"""CIFAR-10's classifier on small cases: what it learns, sees and keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.weights import weights_bytes
from tests.bench.cifar_classifier import (
    CifarClassifier,
    ClassifierTraining,
    augmented,
    cifar_recipe,
    extractor,
    load_classifier,
    train,
)

SMALL = (8, 8, 8)


@pytest.mark.thorough
def test_it_learns_the_colour_of_its_classes() -> None:
    """Red against blue with noise, in a few steps, in both number formats."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 128, (256, 3, 32, 32), dtype=np.uint8)
    labels = torch.arange(256) % 2
    pixels[labels == 0, 0] += 100
    pixels[labels == 1, 2] += 100
    for bfloat16 in (False, True):
        torch.manual_seed(0)
        network, training = CifarClassifier(SMALL), ClassifierTraining(epochs=3, batch_size=32)
        train(network, pixels[:192], labels[:192], replace(training, bfloat16=bfloat16))
        features, classes = network.read(pixels[192:], batch=50)
        assert (classes == labels[192:]).double().mean() > 0.95
        assert features.shape == (64, 8)
        assert features.dtype == torch.float32


def test_training_repeats_itself() -> None:
    """The same seed gives the same weights."""
    pixels = np.random.default_rng(1).integers(0, 256, (32, 3, 32, 32), dtype=np.uint8)
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        network = CifarClassifier(SMALL)
        train(network, pixels, torch.arange(32) % 10, ClassifierTraining(epochs=2, batch_size=8))
        weights.append(network.head.weight.detach().clone())
    assert torch.equal(*weights)


def test_an_augmented_image_is_a_window_of_the_mirrored_surroundings() -> None:
    """Each of 64 copies is one of the 2 * 7 * 7 windows that numpy cuts; several occur."""
    image = np.arange(3 * 32 * 32, dtype=np.int64).reshape(3, 32, 32) % 251
    wide = np.pad(image, ((0, 0), (3, 3), (3, 3)), mode="reflect")
    windows = {}
    for top in range(7):
        for left in range(7):
            cut = wide[:, top : top + 32, left : left + 32]
            windows[cut.tobytes()] = (top, left, False)
            windows[np.ascontiguousarray(cut[:, :, ::-1]).tobytes()] = (top, left, True)
    copies = torch.from_numpy(image).expand(64, -1, -1, -1)
    made = augmented(copies, 3, torch.Generator().manual_seed(0)).long().contiguous().numpy()
    found = [windows[each.tobytes()] for each in made]
    assert len(set(found)) > 30
    assert {flip for _, _, flip in found} == {False, True}
    assert {top for top, _, _ in found} == {left for _, left, _ in found} == set(range(7))


def test_weights_are_read_and_not_trained_again(tmp_path: Path) -> None:
    """A file that is there gives its own network."""
    network, path = CifarClassifier(), tmp_path / "classifier.safetensors"
    write_atomic(path, weights_bytes(network.state_dict(), ClassifierTraining()))
    pixels = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(load_classifier(path)(pixels), network.eval()(pixels))


def test_without_a_folder_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained."""
    monkeypatch.delenv("NVG_TEST_DATA", raising=False)
    with pytest.raises(InputError, match="NVG_TEST_DATA is not set"):
        cifar_recipe()


def test_it_serves_as_an_extractor(tmp_path: Path) -> None:
    """Features and logits of the weights of a file; without one it is refused."""
    with pytest.raises(InputError, match="is no file"):
        extractor(tmp_path / "none.safetensors")
    network = CifarClassifier().eval()
    state = dict(network.state_dict())
    write_atomic(tmp_path / "c.safetensors", weights_bytes(state, ClassifierTraining()))
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features, logits = extractor(tmp_path / "c.safetensors")(pixels)
        assert torch.equal(logits, network(pixels))
    assert features.shape == (3, 128)
