"""LPIPS: zero for equal images, the weights of a local file, clear words where there are none."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nvg.errors import InputError
from nvg.pretrained.lpips import Perceptual, _Undrawn
from nvg.pretrained.names import RANDOM


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision writes it, with random weights."""
    from torchvision.models.vgg import cfgs, make_layers  # a second to import

    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        features = make_layers(cfgs["D"])
    torch.save({f"features.{name}": each for name, each in features.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def untrained() -> Perceptual:
    """The one with random weights."""
    return Perceptual(RANDOM, 32)


@pytest.mark.thorough
def test_distance_of_images(untrained: Perceptual) -> None:
    """Zero to itself, symmetric, one number a pair, with a gradient; dropout stays off."""
    images = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    measure = untrained.train()
    assert measure(images[0], images[0]).tolist() == [0, 0]
    found = measure(images[0], images[1])
    assert torch.equal(found, measure(images[0], images[1]))
    assert torch.allclose(found, measure(images[1], images[0]))
    assert bool((found > 0).all())
    moving = images[0].clone().requires_grad_()
    measure(moving, images[1]).sum().backward()
    assert moving.grad is not None
    assert not any(p.requires_grad for p in measure.parameters())


@pytest.mark.thorough
def test_the_files_weights_are_used(weights: Path, untrained: Perceptual) -> None:
    """Layer by layer; the name tells when they are random."""
    state = torch.load(weights, weights_only=True)
    measure = Perceptual(str(weights), 32)
    assert measure.name == "lpips"
    assert untrained.name == "lpips, VGG16 with random weights"
    first = measure.distance.net.slice1[0].weight
    assert torch.equal(first, state["features.0.weight"])
    last = measure.distance.net.slice5[-2].weight
    assert torch.equal(last, state["features.28.weight"])


@pytest.mark.thorough
@pytest.mark.usefixtures("drawn_vgg")
def test_random_weights_are_always_the_same(untrained: Perceptual) -> None:
    """A run that resumes measures as before."""
    again = Perceptual(RANDOM, 32)
    first, second = (one.distance.net.slice3[-2].weight for one in (untrained, again))
    assert torch.equal(first, second)


def test_what_a_file_replaces_is_not_drawn() -> None:
    """Layers are made as ever, but for their numbers: VGG16 has 138 million."""
    before = torch.get_rng_state()
    with _Undrawn():
        layers = nn.Linear(3, 2), nn.Conv2d(1, 1, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert [layer.weight.shape[0] for layer in layers] == [2, 1]


@pytest.mark.thorough
def test_bad_weights_are_named(
    tmp_path: Path, untrained: Perceptual, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file, text, other weights."""
    monkeypatch.setattr("nvg.pretrained.lpips._untrained", lambda: untrained.distance)
    (tmp_path / "text.pth").write_text("no")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "bent.pth")
    for name, words in (
        ("none.pth", "is no file"),
        ("text.pth", "does not hold torchvision's VGG16 weights: it is a text file"),
        ("other.pth", r"VGG16 weights: features\.0\.weight is missing"),
        ("bent.pth", r"VGG16 weights: features\.0\.weight is \(1,\), not \(64, 3, 3, 3\)"),
    ):
        with pytest.raises(InputError, match=words):
            Perceptual(str(tmp_path / name), 32)
